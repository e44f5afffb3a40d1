"""Finds L1 distances that a network writes out in ordinary operations, in a graph of torch.export.

Such a network exports to a difference of all pairs, its absolute values and their sum: correct, but its temporary has
filters x taps x positions elements. An adder convolution gives the same numbers without it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

# Operations that leave the values as they are, or change at most the sign of all, and so may stand in between.
_PASSIVE = {
    "alias", "broadcast_tensors", "clone", "contiguous", "detach", "expand", "expand_as", "flatten", "movedim", "mT",
    "neg", "numpy_T", "permute", "repeat", "reshape", "select", "slice", "squeeze", "t", "to", "transpose", "unflatten",
    "unsqueeze", "view", "_to_copy", "_unsafe_view",
}  # fmt: skip
_BROADCASTS = {"broadcast_tensors", "clone", "contiguous", "expand", "expand_as", "repeat"}
_WINDOWS = {"im2col", "index", "unfold"}  # `im2col` decomposed is `index`
_SUMS = {"sum", "mean"}
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in [^\n]*\n(?P<code>[^\n]*)')
_TORCH = str(Path(torch.__file__).parent)


@dataclass(frozen=True)
class L1Distance:
    """One L1 distance between many pairs of vectors.

    Attributes:
        node: name of the last node of it in the graph.
        operations: how it is written: "sub, abs, sum", "cdist" and the like.
        module: path of the module that computes it; "" for the network itself.
        class_name: class of that module, with the module of Python that defines it.
        source: "file:line" of what the innermost `forward` runs for it; PyTorch records no more. Empty where the
            graph does not say.
        code: the text of that line.
    """

    node: str
    operations: str
    module: str
    class_name: str
    source: str
    code: str

    def __str__(self) -> str:
        place = self.module or "(the network)"
        source = f", {self.source}: {self.code}" if self.source else ""
        return f"{place} ({self.class_name}) writes out an L1 distance: {self.operations}{source}"


def find_l1_distances(program: ExportedProgram) -> tuple[L1Distance, ...]:
    """Finds distances of all pairs in `program`: of filters and windows, or of two sets of vectors.

    It sees cdist with p = 1, and a difference whose absolute values are summed or averaged, however it is reshaped in
    between. A difference of two tensors of one shape is no distance of pairs, and adroit's own operators are none.

    Args:
        program: of torch.export.export, decomposed or not.

    Returns:
        One for each, in the order of the graph.
    """
    graphs = [module for module in program.graph_module.modules() if isinstance(module, GraphModule)]
    results = []
    for graph in graphs:
        for node in graph.graph.nodes:
            operations = _distance(node)
            if operations:
                results.append(_described(node, operations))
    return tuple(results)


def _distance(node: Node) -> str:
    """How `node` ends a distance of pairs; empty where it does not."""
    name = _name(node)
    if name in ("cdist", "_cdist_forward"):
        return "cdist" if len(node.args) > 2 and node.args[2] == 1 else ""
    if name in ("linalg_vector_norm", "norm"):
        order = node.args[1] if len(node.args) > 1 else node.kwargs.get("ord", 2)
        return f"sub, {name}" if order == 1 and _is_difference_of_pairs(_source(node)) else ""
    if name not in _SUMS:
        return ""
    absolute = _source(node)
    match _name(absolute):
        case "abs" if _is_difference_of_pairs(_source(absolute)):
            return f"sub, abs, {name}"
        case "l1_loss" if _are_pairs(absolute):
            return f"l1_loss, {name}"
    return ""


def _is_difference_of_pairs(node: Node | None) -> bool:
    """Whether `node` is a - b, or a + (-b), of tensors that broadcast to all pairs."""
    match _name(node):
        case "sub" | "rsub":
            return _are_pairs(node)
        case "add":
            assert node is not None
            return _are_pairs(node) and any(_name(operand) == "neg" for operand in _operands(node))
    return False


def _are_pairs(node: Node | None) -> bool:
    """Whether the two operands of `node` meet in all pairs: each is broadcast, or one is made of windows."""
    operands = _operands(node)
    if len(operands) != 2:
        return False
    first, second = (_shape(_before(operand, _BROADCASTS)) for operand in operands)
    rank = max(len(first), len(second))
    first, second = (1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second
    grows = [_is_one(a) and not _is_one(b) for a, b in zip(first, second, strict=True)]
    shrinks = [_is_one(b) and not _is_one(a) for a, b in zip(first, second, strict=True)]
    if any(grows) and any(shrinks):
        return True
    windows = [_name(_before(operand, _PASSIVE)) in _WINDOWS for operand in operands]
    return any(windows) and not all(windows) and (any(grows) or any(shrinks))


def _name(node: Node | None) -> str:
    """The operation's name without its overload, and without the underscore of its form in place."""
    if node is None or node.op != "call_function":
        return ""
    packet = getattr(node.target, "overloadpacket", None)
    return packet.__name__.rstrip("_") if packet is not None else ""


def _operands(node: Node | None) -> list[Node]:
    return [a for a in node.args[:2] if isinstance(a, Node)] if node is not None else []


def _source(node: Node | None) -> Node | None:
    """What `node` reads first, before all that leaves values as they are."""
    operands = _operands(node)
    return _before(operands[0], _PASSIVE) if operands else None


def _before(node: Node | None, passed: set[str]) -> Node | None:
    """`node`, or the first one before it that is none of the operations in `passed`."""
    while node is not None and (_name(node) in passed or node.target is operator.getitem or _is_first_power(node)):
        argument = node.args[0]
        if node.target is operator.getitem and isinstance(argument, Node) and _name(argument) == "broadcast_tensors":
            tensors, position = argument.args[0], node.args[1]
            argument = tensors[position] if isinstance(tensors, list | tuple) and isinstance(position, int) else None
        node = argument if isinstance(argument, Node) else None
    return node


def _is_first_power(node: Node) -> bool:
    """Whether it is x ** 1, which a norm of order 1 decomposes to."""
    return _name(node) == "pow" and isinstance(node.args[1], int | float) and node.args[1] == 1


def _shape(node: Node | None) -> tuple[object, ...]:
    return tuple(getattr(node.meta.get("val"), "shape", ())) if node is not None else ()


def _is_one(size: object) -> bool:
    """Whether a size is 1; one that is free in the graph is not, and is not compared, which would fix it."""
    return isinstance(size, int) and size == 1


def _described(node: Node, operations: str) -> L1Distance:
    stack = list((node.meta.get("nn_module_stack") or {"": ("", "")}).values())
    path, class_name = stack[-1]
    source, code = next(_frames(node), ("", ""))
    return L1Distance(node.name, operations, path.split("@")[0], _class_name(class_name), source, code)


def _class_name(class_name: object) -> str:
    return f"{class_name.__module__}.{class_name.__qualname__}" if isinstance(class_name, type) else str(class_name)


def _frames(node: Node) -> Iterator[tuple[str, str]]:
    """Places and texts of the lines that made `node`, innermost first, without PyTorch's own."""
    frames = list(_FRAME.finditer(node.meta.get("stack_trace") or ""))
    for frame in reversed(frames):
        if not frame["file"].startswith(_TORCH):
            yield f"{frame['file']}:{frame['line']}", frame["code"].strip()
