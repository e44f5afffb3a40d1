"""What a route costs: operations of every node and path, by two countings.

`paper` follows the official code (arXiv 2003.10401): one multiply-add is 1, batch norm 2 and ReLU 1
an element, the gates' pooling 1 an input element; bilinear interpolation, additions, the gates'
multiplications, the init node's cell and gate and the last layer's ReLUs are not counted; sizes are
those of a padded stem; the head is counted whole, whatever reaches it. (Its head is counted on the true
rectangle, as the paper's totals were; the published code counts it on a square.)

`own` counts what the network executes when it is held to the route: batch norms are folded into a bias,
sizes are the true ones, a node's paths share one ReLU; interpolation, additions, gates and the init node
are there, and only reached nodes run their gate and, in the last layer, are decoded. Choosing between
maps (torch.where) and deciding on a few gates count for nothing. tests/deploy/routing/test_route_counts.py
holds both countings to what runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adroit.errors import UsageError
from adroit.models.operators.counts import OperationCounts, convolution_counts, routing_gate_counts
from adroit.models.operators.shapes import convolved_size
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, SCALES, USUAL_STEM, Node, Path, RoutingSpace, StemShape

Counting = Literal["paper", "own"]
Gate = Literal["normal", "small", "none"]
GATE_SHRINK: Mapping[str, int] = {"normal": 1, "small": 4}
SIZE_MULTIPLE = 32


NOTHING = OperationCounts()


@dataclass(frozen=True)
class _Map:
    """A feature map of one image: channels x height x width."""

    channels: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (1, self.channels, self.height, self.width)

    @property
    def elements(self) -> int:
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class _Counter:
    """The elementary counts under one counting."""

    paper: bool

    def convolution(
        self, taps: int, out: _Map, norm: bool = False, relu: bool = False, bias: bool = False
    ) -> OperationCounts:
        """`taps`: products of one output element. A norm, folded, is a bias in our own counting."""
        counts = convolution_counts((out.channels, taps), out.shape, bias=not self.paper and (norm or bias))
        norms = 2 * norm if self.paper else 0
        return counts + OperationCounts(elementwise=(norms + relu) * out.elements)

    def separable(self, out: _Map, channels_in: int, relu: bool) -> OperationCounts:
        """Depthwise 3 x 3 without norm, then pointwise with norm; both at `out`'s size."""
        depthwise = self.convolution(9, _Map(channels_in, out.height, out.width))
        return depthwise + self.convolution(channels_in, out, norm=True, relu=relu)

    def relu(self, at: _Map) -> OperationCounts:
        return OperationCounts(elementwise=at.elements)

    def sum(self, at: _Map) -> OperationCounts:
        return NOTHING if self.paper else OperationCounts(elementwise=at.elements)

    def scale(self, at: _Map) -> OperationCounts:
        return NOTHING if self.paper else OperationCounts(elementwise=at.elements)

    def bilinear(self, out: _Map) -> OperationCounts:
        return NOTHING if self.paper else OperationCounts(multiply_adds=4 * out.elements)


@dataclass(frozen=True)
class CostTable:
    """Operations of one image of `size`, by part of the network.

    Attributes:
        space: the routing space. size: the input's (height, width) in pixels. counting: which rules.
        gated: whether the network has gates.
        stem, head: what every route pays.
        decoders: by scale above 0, what the head pays besides for a map there: paid where something reaches the
            scale (in `paper` counting always).
        cells, gates: by node; a cell is paid where the node is open, a gate where it is live (in
            `paper` counting always).
        sums: by node; paid for every map that arrives after the first.
        paths: by path; paid where it is open.
    """

    space: RoutingSpace
    size: tuple[int, int]
    counting: Counting
    gated: bool
    stem: OperationCounts
    head: OperationCounts
    decoders: Mapping[int, OperationCounts]
    cells: Mapping[Node, OperationCounts]
    gates: Mapping[Node, OperationCounts]
    sums: Mapping[Node, OperationCounts]
    paths: Mapping[Path, OperationCounts]

    def of_route(self, route: Route, baked: bool = False) -> OperationCounts:
        """The sum of `parts`."""
        return sum((counts for _, counts in self.parts(route, baked)), NOTHING)

    def parts(self, route: Route, baked: bool = False) -> list[tuple[str, OperationCounts]]:
        """Operations of one image whose open paths are `route`'s, by part of the network, in their order.

        Args:
            baked: the route is part of the network, so that closed nodes ask no gate.

        Raises:
            UsageError: a route of another space.
        """
        if route.space != self.space:
            raise UsageError(f"the cost table is of {self.space}, the route of {route.space}")
        parts = [("stem", self.stem)]
        for node in self.space.nodes:
            arrive = sum(route.sends(path, self.gated) for path in self.space.arriving(node))
            if route.is_live(node) and arrive > 1:
                parts.append((f"{node.name} sum", sum([self.sums[node]] * (arrive - 1), NOTHING)))
            if route.is_open(node) if baked else self.counting == "paper" or route.is_live(node):
                parts.append((f"{node.name} gate", self.gates[node]))
            if route.is_open(node):
                parts.append((f"{node.name} cell", self.cells[node]))
                parts += [(f"{node.name} {kind}", self.paths[Path(node, kind)]) for kind in route.open_kinds(node)]
        return [*parts, ("head", self._head_along(route))]

    def _head_along(self, route: Route) -> OperationCounts:
        last = {scale: Node(self.space.depth - 1, scale) for scale in self.decoders}
        decoded = [scale for scale, at in last.items() if self.counting == "paper" or route.is_live(at)]
        return sum((self.decoders[scale] for scale in decoded), self.head)

    @property
    def cell_totals(self) -> NDArray[np.float64]:
        """[nodes], in the order of `space.nodes`."""
        return np.array([self.cells[node].total for node in self.space.nodes], np.float64)

    @property
    def path_totals(self) -> NDArray[np.float64]:
        """[paths], in the order of `space.paths`."""
        return np.array([self.paths[path].total for path in self.space.paths], np.float64)

    def expected(self, gates: ArrayLike) -> NDArray[np.float64]:
        """The cost that the budget loss steers, [N] of gates [N,paths]: cells and paths only.

        A node costs its largest gate times its cell, and each path its gate times its own cost. With
        gates of 0 and 1 that is `of_route` without stem, head and gates.
        """
        values = np.asarray(gates, np.float64)
        largest = np.stack([values[:, self.space.gates(node)].max(1) for node in self.space.nodes], axis=1)
        return np.asarray(largest @ self.cell_totals + values @ self.path_totals)


def check_size(size: tuple[int, int], gate: Gate) -> None:
    """Raises UsageError for an input of `size` (height, width) that no network with such gates takes."""
    minimum = SIZE_MULTIPLE * GATE_SHRINK.get(gate, 1)
    if any(side % SIZE_MULTIPLE for side in size) or min(size) < minimum:
        pad = "pad the input with zeros at the bottom and right, and crop the output"
        enlarge = "its deepest map, at 1/32, would have fewer pixels than a gate looks at: give larger images"
        raise UsageError(
            f"this network takes multiples of {SIZE_MULTIPLE} pixels, at least {minimum}, not {size[0]} x {size[1]}",
            hint=enlarge if min(size) < minimum else pad,
        )


def cost_table(
    space: RoutingSpace,
    size: tuple[int, int],
    classes: int,
    gate: Gate,
    counting: Counting = "own",
    stem: StemShape = USUAL_STEM,
) -> CostTable:
    """The cost of every part for an input of `size` pixels (height, width).

    Raises:
        UsageError: a size that is no multiple of 32.
    """
    if min(size) < SIZE_MULTIPLE or any(side % SIZE_MULTIPLE for side in size):
        raise UsageError(f"a routed network takes multiples of {SIZE_MULTIPLE} pixels, not {size[0]} x {size[1]}")
    counter = _Counter(counting == "paper")
    maps = [_Map(space.channels(i), size[0] >> (2 + i), size[1] >> (2 + i)) for i in range(SCALES)]
    cells = {node: _cell_cost(counter, maps[node.scale]) for node in space.nodes}
    sums = {node: counter.sum(maps[node.scale]) for node in space.nodes}
    gates = {node: _gate_cost(counter, gate, maps[node.scale], len(space.kinds(node))) for node in space.nodes}
    paths = {path: _path_cost(counter, maps[path.node.scale], path.kind, gate) for path in space.paths}
    if counter.paper:
        cells[INIT] = gates[INIT] = NOTHING
        paths.update({path: NOTHING for path in space.paths if path.node.layer == space.depth - 1})
    before, head = _stem_cost(counter, stem, space.width, size), _head_cost(counter, maps, size, classes)
    decoders = {scale: _decoder_cost(counter, maps, scale) for scale in range(1, SCALES)}
    return CostTable(space, size, counting, gate != "none", before, head, decoders, cells, gates, sums, paths)


def _cell_cost(counter: _Counter, at: _Map) -> OperationCounts:
    """The separable convolution, the identity's addition, and the ReLU that all paths begin with."""
    branch = counter.separable(at, at.channels, relu=True) + counter.separable(at, at.channels, relu=False)
    return branch + counter.sum(at) + (NOTHING if counter.paper else counter.relu(at))


def _path_cost(counter: _Counter, at: _Map, kind: str, gate: Gate) -> OperationCounts:
    """From the cell's output on: transition, interpolation and the gate's product; in the paper each has its ReLU."""
    total = counter.relu(at) if counter.paper else NOTHING
    arrives = at
    if kind == "up":
        shrunk = _Map(at.channels // 2, at.height, at.width)
        arrives = _Map(shrunk.channels, 2 * at.height, 2 * at.width)
        total += counter.convolution(at.channels, shrunk, norm=True, relu=True) + counter.bilinear(arrives)
    elif kind == "down":
        # Paper counting rounds an odd side down, the convolution itself up.
        halves = [side // 2 if counter.paper else (side + 1) // 2 for side in (at.height, at.width)]
        arrives = _Map(2 * at.channels, *halves)
        total += counter.convolution(at.channels, arrives, norm=True, relu=True)
    return total if gate == "none" else total + counter.scale(arrives)


def _gate_cost(counter: _Counter, gate: Gate, at: _Map, paths: int) -> OperationCounts:
    if gate == "none":
        return NOTHING
    if not counter.paper:
        return routing_gate_counts(at.shape, at.channels // 2, paths, GATE_SHRINK[gate])
    height, width = at.height // GATE_SHRINK[gate], at.width // GATE_SHRINK[gate]
    hidden = _Map(at.channels // 2, height, width)
    pooling = OperationCounts(elementwise=hidden.elements)
    first = counter.convolution(at.channels, hidden, norm=True, relu=True)
    return first + pooling + counter.convolution(hidden.channels, _Map(paths, 1, 1))


def _stem_cost(counter: _Counter, stem: StemShape, width: int, size: tuple[int, int]) -> OperationCounts:
    inner = stem.inner(width)
    if counter.paper:
        halves, quarters = [side // 2 for side in size], [side // 4 for side in size]
    else:  # the first convolution is not padded
        halves = [convolved_size(side, 3, 2, 0, 0) for side in size]
        quarters = [convolved_size(side, 3, 2, 1, 1) for side in halves]
    half, quarter = _Map(inner, *halves), _Map(width, *quarters)
    total = counter.convolution(27, half, norm=True, relu=True)
    for out in (half, quarter):
        if stem.separable:
            total += counter.separable(out, inner, relu=True)
        else:
            total += counter.convolution(9 * inner, out, norm=True, relu=True)
    return total


def _head_cost(counter: _Counter, maps: list[_Map], size: tuple[int, int], classes: int) -> OperationCounts:
    """From the map at stride 4 to the logits."""
    scores = _Map(classes, maps[0].height, maps[0].width)
    total = counter.convolution(maps[0].channels, maps[0], norm=True, relu=True)
    total += counter.convolution(9 * maps[0].channels, scores, bias=True)
    return total + counter.bilinear(_Map(classes, *size))


def _decoder_cost(counter: _Counter, maps: list[_Map], scale: int) -> OperationCounts:
    """From the map at `scale` to its sum with the next shallower one."""
    at, onto = maps[scale], maps[scale - 1]
    total = counter.convolution(at.channels, _Map(onto.channels, at.height, at.width), norm=True, relu=True)
    return total + counter.bilinear(_Map(onto.channels, 2 * at.height, 2 * at.width)) + counter.sum(onto)
