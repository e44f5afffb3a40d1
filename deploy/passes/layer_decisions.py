"""Decides the open and closed nodes of a routed layer by one operator for all of them.

Deciding node by node takes some twenty standard operators a node, on a few numbers each: more than
1,200 in a network of 16 layers, each with its own overhead in the runtime. Here a layer takes three.
The rules are those of models/routing/route.py and of the network's gate (Decide).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.passes.branches import Branches, Part
from adroit.models.routing.space import Node, Path, RoutingSpace


@dataclass(frozen=True)
class LayerDecisions:
    """The values that the gates of a layer decide; S nodes with P paths in all.

    Attributes:
        gates: [N,P] in the order of RoutingSpace.paths, 0 where closed.
        opened: [N,S] float32, 1 or 0: for which samples a node computes.
        live: [N,S'] float32, 1 or 0: for which samples something reaches the next layer's nodes.
        columns: where a path is in `gates`.
        path_open: [1] bool, of up and down paths: whether that holds for some sample.
        open_any, closed_any: [1] bool: the same of nodes.
        live_any: [1] bool, of the next layer's nodes above scale 0: whether something reaches it.
        busy_any: [1] bool, of the next layer's nodes: whether more reaches it than the map of a closed node.
    """

    gates: ir.Value
    opened: ir.Value
    live: ir.Value
    columns: dict[Path, int]
    path_open: dict[Path, ir.Value]
    open_any: dict[Node, ir.Value]
    closed_any: dict[Node, ir.Value]
    live_any: dict[Node, ir.Value]
    busy_any: dict[Node, ir.Value]


def decide_layer(
    build: Branches, space: RoutingSpace, nodes: Sequence[Node], raw: Sequence[ir.Value], live: ir.Value, module: str
) -> LayerDecisions:
    """Adds the operations to the main graph.

    Args:
        nodes: a layer's. raw: the gates of each, [N,P of it].
        live: [N,S] float32, 1 or 0: for which samples something reaches the nodes.
        module: module path that the operations get.
    """
    paths = [Path(at, kind) for at in nodes for kind in space.kinds(at)]
    following = [at for at in space.nodes if at.layer == nodes[0].layer + 1]
    belongs = np.eye(len(nodes), dtype=np.float32)[[nodes.index(path.node) for path in paths]]
    reach = _live_matrix(space, nodes, paths, following)
    # What no branch reads has no flag: keep paths follow from their node, and scale 0 is always live.
    moving, later = [path for path in paths if path.kind != "keep"], [at for at in following if at.scale]
    ours = np.eye(len(reach), len(paths) + 2 * len(nodes), dtype=np.float32)
    rows = [paths.index(path) for path in moving] + list(range(len(paths), ours.shape[1]))
    lives = reach[:, [following.index(at) for at in later]]
    shown = np.concatenate([ours[:, rows], lives, _busy_matrix(space, nodes, paths, following)], 1)
    # After the last layer nothing follows, but an operator's output is not empty.
    matrices = [belongs, reach if following else np.zeros((len(reach), 1), np.float32), shown]
    joined = raw[0] if len(raw) == 1 else build.outer("Concat", raw, module, [ir.AttrInt64("axis", 1)])
    inputs = [joined, live, *(build.constant(matrix) for matrix in matrices)]
    decision = build.node("RoutingDecision", inputs, module, outputs=4, domain=DOMAIN)
    gates, opened, reached, flags = build.append(Part([decision], tuple(decision.outputs)))
    flags.type = ir.TensorType(ir.DataType.BOOL)
    count = shown.shape[1]
    split = build.node("Split", [flags], module, [ir.AttrInt64("num_outputs", count)], outputs=count)
    each = iter(build.append(Part([split], tuple(split.outputs))))
    return LayerDecisions(
        gates,
        opened,
        reached,
        columns={path: index for index, path in enumerate(paths)},
        path_open={path: next(each) for path in moving},
        open_any={at: next(each) for at in nodes},
        closed_any={at: next(each) for at in nodes},
        live_any={at: next(each) for at in later},
        busy_any={at: next(each) for at in following},
    )


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
    """[P+3S,S'] for the same rows: what gives a node of the next layer more than a closed node's own map."""
    matrix = np.zeros((len(paths) + 3 * len(nodes), len(following)), np.float32)
    for column, at in enumerate(following):
        for path in space.arriving(at):
            row = len(paths) + nodes.index(path.node) if path.kind == "keep" else paths.index(path)
            matrix[row, column] = 1.0
    return matrix
