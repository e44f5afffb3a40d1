"""What a layer of routed nodes decides, as a few operations for all its nodes together.

ONNX Runtime spends about as long on an operation with three numbers as on one with three thousand,
and a network has dozens of nodes: deciding node by node would cost as much as computing them.
The rules are those of models/routing/route.py and of the network's gate (Decide).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploy.passes.branches import Branches, Part
from models.routing.route import CLOSED_BELOW
from models.routing.space import Node, Path, RoutingSpace


@dataclass(frozen=True)
class LayerDecisions:
    """What the gates of a layer decide; S nodes with P paths in all.

    Attributes:
        gates: [N,P] in the order of RoutingSpace.paths, 0 where closed.
        opened: [N,S] bool: for which samples a node computes.
        live: [N,S'] bool: for which samples something reaches the next layer's nodes; None after the last.
        columns: where a path is in `gates`.
        path_open, open_any, closed_any: [1] bool: whether that holds for some sample.
        live_any: [1] bool, of the next layer's nodes: whether something reaches it.
        busy_any: [1] bool, of the next layer's nodes: whether more reaches it than the map of a closed node.
    """

    gates: ir.Value
    opened: ir.Value
    live: ir.Value | None
    columns: dict[Path, int]
    path_open: dict[Path, ir.Value]
    open_any: dict[Node, ir.Value]
    closed_any: dict[Node, ir.Value]
    live_any: dict[Node, ir.Value]
    busy_any: dict[Node, ir.Value]


def decide_layer(
    build: Branches,
    space: RoutingSpace,
    nodes: Sequence[Node],
    raw: Sequence[ir.Value],
    live: ir.Value | None,
    module: str,
) -> LayerDecisions:
    """Adds the operations to the main graph.

    Args:
        nodes: a layer's. raw: the gates of each, [N,P of it].
        live: [N,S] bool, for which samples something reaches the nodes; None: for all.
        module: module path that the operations get.
    """
    boolean = ir.DataType.BOOL
    paths = [Path(at, kind) for at in nodes for kind in space.kinds(at)]
    owners = np.array([nodes.index(path.node) for path in paths])
    joined = _concat(build, raw, module)
    belongs = build.constant(np.eye(len(nodes), dtype=np.float32)[owners])
    sums = build.outer("MatMul", [joined, belongs], module)
    least = build.constant(np.array(CLOSED_BELOW, np.float32))
    opened = build.outer("GreaterOrEqual", [sums, least], module, kind=boolean)
    if live is not None:
        opened = build.outer("And", [opened, live], module)
    closed = build.outer("Not", [opened], module)
    if live is None:
        live = build.outer("Or", [opened, closed], module)
    of_paths = build.outer("Gather", [opened, build.constant(owners)], module, [ir.AttrInt64("axis", 1)])
    zero = build.constant(np.array(0.0, np.float32))
    gates = build.outer("Where", [of_paths, joined, zero], module, kind=ir.DataType.FLOAT)

    following = [at for at in space.nodes if at.layer == nodes[0].layer + 1]
    states = _concat(build, [opened, closed, live], module)
    to_float = [ir.AttrInt64("to", ir.DataType.FLOAT)]
    states = build.outer("Cast", [states], module, to_float, ir.DataType.FLOAT)
    shown, next_live = _concat(build, [gates, states], module), None
    sizes = [1] * (len(paths) + 2 * len(nodes)) + [len(nodes)]
    if following:
        matrices = _live_matrix(space, nodes, paths, following), _busy_matrix(space, nodes, paths, following)
        live_sum, busy_sum = (build.outer("MatMul", [shown, build.constant(m)], module) for m in matrices)
        next_live = build.outer("Greater", [live_sum, zero], module, kind=boolean)
        shown = _concat(build, [shown, live_sum, busy_sum], module)
        sizes += [1] * (2 * len(following))
    flags = iter(_any_sample(build, shown, sizes, module))
    path_open = {path: next(flags) for path in paths}
    open_any = {at: next(flags) for at in nodes}
    closed_any = {at: next(flags) for at in nodes}
    next(flags)  # live: the layer before said so
    live_any = {at: next(flags) for at in following}
    busy_any = {at: next(flags) for at in following}
    columns = {path: index for index, path in enumerate(paths)}
    return LayerDecisions(gates, opened, next_live, columns, path_open, open_any, closed_any, live_any, busy_any)


def _concat(build: Branches, values: Sequence[ir.Value], module: str) -> ir.Value:
    return values[0] if len(values) == 1 else build.outer("Concat", values, module, [ir.AttrInt64("axis", 1)])


def _live_matrix(
    space: RoutingSpace, nodes: Sequence[Node], paths: Sequence[Path], following: Sequence[Node]
) -> np.ndarray:
    """[P+3S,S'] for rows gates, opened, closed, live: what makes a node of the next layer live."""
    matrix = np.zeros((len(paths) + 3 * len(nodes), len(following)), np.float32)
    for column, at in enumerate(following):
        for path in space.arriving(at):
            state = 2 if path.kind == "keep" else 0
            matrix[len(paths) + state * len(nodes) + nodes.index(path.node), column] = 1.0
    return matrix


def _busy_matrix(
    space: RoutingSpace, nodes: Sequence[Node], paths: Sequence[Path], following: Sequence[Node]
) -> np.ndarray:
    """As above: what gives a node of the next layer more than the map that entered a closed node."""
    matrix = np.zeros((len(paths) + 3 * len(nodes), len(following)), np.float32)
    for column, at in enumerate(following):
        for path in space.arriving(at):
            row = len(paths) + nodes.index(path.node) if path.kind == "keep" else paths.index(path)
            matrix[row, column] = 1.0
    return matrix


def _any_sample(build: Branches, values: ir.Value, sizes: Sequence[int], module: str) -> Sequence[ir.Value]:
    """values [N,columns]: whether each column is above 0 for some sample, split into runs of `sizes` columns."""
    over_batch = build.constant(np.array([0], np.int64))
    largest = build.outer("ReduceMax", [values, over_batch], module, [ir.AttrInt64("keepdims", 0)])
    zero = build.constant(np.array(0.0, np.float32))
    above = build.outer("Greater", [largest, zero], module, kind=ir.DataType.BOOL)
    runs = build.constant(np.array(sizes, np.int64))
    split = build.node("Split", [above, runs], module, [ir.AttrInt64("axis", 0)], outputs=len(sizes))
    return build.append(Part([split], tuple(split.outputs)))
