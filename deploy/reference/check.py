"""What must hold for a stored program before a node of it runs: names, order, nesting, operators, weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch

from adroit.deploy.reference.operators import CALL, COND, NUMBERS, REQUIRE, STRUCTURAL, check_arguments, resolve
from adroit.deploy.reference.program import (
    FORMAT,
    Argument,
    Graph,
    GraphOf,
    Item,
    Node,
    Program,
    Value,
    WeightOf,
    place,
)
from adroit.errors import UnsupportedModel, UsageError

MAX_NODES = 200_000
MAX_NESTING = 16
# Of one tensor. ONNX's and TensorRT's limits are near; a file that asks for more is an attack.
MAX_ELEMENTS = 2**31


def check_program(program: Program) -> None:
    """Checks everything that can be checked without running a node.

    Raises:
        UsageError: a damaged or hostile program. UnsupportedModel: an operator that is not on the list.
    """
    if program.format != FORMAT:
        raise UsageError(f"the stored network has format {program.format}, this adroit reads {FORMAT}")
    if not program.graphs or not program.inputs or not program.outputs:
        raise UsageError("the stored network has no graph, no input or no output")
    if sum(len(graph.nodes) for graph in program.graphs) > MAX_NODES:
        raise UsageError(f"the stored network has more than {MAX_NODES} nodes")
    _check_interface(program)
    weights = {weight.name for weight in program.weights}
    _check_unique("weight", [weight.name for weight in program.weights])
    parents: dict[int, int] = {}
    for index, graph in enumerate(program.graphs):
        _check_graph(graph, weights)
        for node in graph.nodes:
            for nested in _graphs_of(node):
                if not index < nested < len(program.graphs) or nested in parents:
                    raise UsageError(f"the node {node.name} cannot have graph {nested}", facts=place(node))
                parents[nested] = index
    for nested in range(1, len(program.graphs)):
        if nested not in parents or _depth(nested, parents) > MAX_NESTING:
            raise UsageError(f"graph {nested} of the stored network is used nowhere or nested too deeply")


def _depth(index: int, parents: Mapping[int, int]) -> int:
    depth = 0
    while index in parents and depth <= MAX_NESTING:
        index, depth = parents[index], depth + 1
    return depth


def _check_interface(program: Program) -> None:
    _check_unique("input", [spec.name for spec in program.inputs])
    _check_unique("output", program.outputs)
    if len(program.graphs[0].inputs) != len(program.inputs) or len(program.graphs[0].outputs) != len(program.outputs):
        raise UsageError("the stored network's inputs or outputs are not those of its graph")
    for spec in program.inputs:
        fits = len(spec.shape) == len(spec.example) and all(
            isinstance(size, str) or size == given for size, given in zip(spec.shape, spec.example, strict=True)
        )
        if not fits or math.prod(spec.example) > MAX_ELEMENTS:
            raise UsageError(f"the input {spec.name} of the stored network has sizes that do not fit each other")
        _check_texts("input", [size for size in spec.shape if isinstance(size, str)])
    for weight in program.weights:
        if math.prod(weight.shape) > MAX_ELEMENTS:
            raise UsageError(f"the weight {weight.name} of the stored network is too large: {weight.shape}")


def _check_unique(kind: str, names: list[str]) -> None:
    _check_texts(kind, names)
    if len(set(names)) != len(names):
        raise UsageError(f"the stored network has two {kind}s of one name")


def _check_texts(kind: str, names: Iterable[str]) -> None:
    """Names are printed and compared, never used as paths; what looks like a path or a control code is refused."""
    for name in names:
        if not name.isprintable() or "/" in name or "\\" in name or ".." in name:
            raise UsageError(f"the stored network has an unusual name of a {kind}: {name!r}", hint="rename it")


def _check_graph(graph: Graph, weights: set[str]) -> None:
    _check_unique("value", [*graph.inputs, *(node.name for node in graph.nodes)])
    known = set(graph.inputs)
    for node in graph.nodes:
        _check_texts("node", (node.op, node.module, node.source))
        for item in items_of(node):
            _check_reference(item, known, weights, node)
        check_node(node)
        known.add(node.name)
    for output in graph.outputs:
        _check_reference(output, known, weights, None)


def items_of(node: Node) -> list[Item]:
    """All plain values among a node's arguments, those in lists too."""
    arguments: list[Argument] = [*node.args, *node.kwargs.values()]
    return [item for argument in arguments for item in (argument if isinstance(argument, list) else [argument])]


def _graphs_of(node: Node) -> list[int]:
    return [item.index for item in items_of(node) if isinstance(item, GraphOf)]


def _check_reference(item: Item, known: set[str], weights: set[str], node: Node | None) -> None:
    missing = (isinstance(item, Value) and item.name not in known) or (
        isinstance(item, WeightOf) and item.name not in weights
    )
    if missing and isinstance(item, Value | WeightOf):
        raise UsageError(
            f"the stored network uses {item.name!r} before it is computed, or it does not exist",
            facts=place(node) if node else None,
        )


def check_node(node: Node) -> None:
    """Refuses an operator that is not on the list, and arguments that it does not take.

    Raises:
        UnsupportedModel: the operator, or how it is called. UsageError: arguments of a wrong kind.
    """
    try:
        function = resolve(node.op)
    except KeyError:
        raise UnsupportedModel(
            f"adroit's reference does not know the operator {node.op}",
            facts=place(node),
            hint="write this step with ordinary operators of torch.nn.functional, or leave it out of the network",
        ) from None
    try:
        if function is None or node.op in NUMBERS:
            _check_structural(node)
        else:
            check_arguments(node, function)
    except TypeError as error:
        raise UsageError(f"the node {node.name} has wrong arguments", facts=place(node) | {"reason": error}) from None


def _check_structural(node: Node) -> None:
    graphs = [isinstance(argument, GraphOf) for argument in node.args]
    expected = {COND: [False, True, True, False], CALL: [True, False]}.get(node.op, [False] * len(graphs))
    if node.kwargs or graphs != expected:
        raise TypeError("such a node takes its arguments in order, and graphs only as branches")
    if node.op in STRUCTURAL and len(node.args) != {COND: 4, CALL: 2, REQUIRE: 2}.get(node.op, 2):
        raise TypeError("the number of arguments")


def check_weights(program: Program, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Compares the weights' file with what the program declares.

    Raises:
        UsageError: names each tensor that is missing, unexpected or of another shape or type.
    """
    declared = {weight.name: weight for weight in program.weights}
    problems = [f"missing {name}" for name in declared if name not in tensors]
    problems += [f"unexpected {name}" for name in tensors if name not in declared]
    for name in declared.keys() & tensors.keys():
        tensor, weight = tensors[name], declared[name]
        if list(tensor.shape) != weight.shape or str(tensor.dtype) != f"torch.{weight.dtype}":
            problems.append(f"{name} is {tensor.dtype} {list(tensor.shape)}, expected {weight.dtype} {weight.shape}")
    if problems:
        raise UsageError(
            f"{where} does not hold the weights of its program: {len(problems)} tensors differ",
            facts={str(i + 1): problem for i, problem in enumerate(sorted(problems)[:20])},
            hint="export the network again",
        )
