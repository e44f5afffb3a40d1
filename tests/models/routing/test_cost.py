"""Costs: the paper's totals and units, and our own columns against a count over a running network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from adroit.errors import UsageError
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.operators.counts import OperationCounts, routing_gate_counts
from adroit.models.routing.cost import CostTable, Gate, cost_table
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, Node, Path, RoutingSpace

FULL, SQUARE = (1024, 2048), (768, 768)


@pytest.mark.parametrize(
    ("depth", "gate", "size", "total"),
    [
        (16, "normal", FULL, 119.49),
        (16, "small", FULL, 103.68),
        (16, "none", FULL, 102.62),
        (33, "normal", FULL, 246.03),
        (33, "small", FULL, 212.60),
        (33, "none", FULL, 210.37),
        (16, "normal", SQUARE, 33.61),
        (16, "none", SQUARE, 28.86),
    ],
)
def test_published_totals(depth: int, gate: Gate, size: tuple[int, int], total: float) -> None:
    """In units of 1e9, everything open."""
    space = RoutingSpace(depth)
    costs = cost_table(space, size, 19, gate, "paper")
    assert round(costs.of_route(Route.all_open(space)).total / 1e9, 2) == total


# cell, keep, up, down, gate, small gate by scale, in 1e6.
UNITS = {
    FULL: [
        (1266.680, 8.389, None, 289.407, 285.213, 17.826),
        (1170.211, 4.194, 278.921, 278.921, 276.824, 17.302),
        (1121.976, 2.097, 273.678, 273.678, 272.630, 17.040),
        (1097.859, 1.049, 271.057, None, 270.533, 16.909),
    ],
    SQUARE: [
        (356.254, 2.359, None, 81.396, 80.216, 5.014),
        (329.122, 1.180, 78.447, 78.447, 77.857, 4.866),
        (315.556, 0.590, 76.972, 76.972, 76.678, 4.793),
        (308.773, 0.295, 76.235, None, 76.088, 4.756),
    ],
}
ENDS = {FULL: (4194.304, 2812.8), SQUARE: (1179.648, 791.1)}


@pytest.mark.parametrize("size", list(UNITS), ids=str)
@pytest.mark.parametrize("scale", range(4))
def test_published_units(size: tuple[int, int], scale: int) -> None:
    space = RoutingSpace(16)
    normal, small = (cost_table(space, size, 19, gate, "paper") for gate in ("normal", "small"))
    node = Node(5, scale)
    paths = [normal.paths.get(Path(node, kind)) for kind in ("keep", "up", "down")]
    counts = [normal.cells[node], *paths, normal.gates[node], small.gates[node]]
    result = tuple(None if count is None else round(count.total / 1e6, 3) for count in counts)
    assert result == UNITS[size][scale]


def whole_head(costs: CostTable) -> int:
    return costs.head.total + sum(counts.total for counts in costs.decoders.values())


@pytest.mark.parametrize("size", list(ENDS), ids=str)
def test_published_stem_and_head(size: tuple[int, int]) -> None:
    costs = cost_table(RoutingSpace(16), size, 19, "normal", "paper")
    assert (round(costs.stem.total / 1e6, 3), round(whole_head(costs) / 1e6, 1)) == ENDS[size]


def test_the_published_maximum_of_the_expected_cost() -> None:
    space = RoutingSpace(16)
    expected = cost_table(space, SQUARE, 19, "small", "paper").expected(np.ones((1, len(space.paths))))
    assert round(float(expected[0]) / 1e6, 1) == 26_891.7


def random_route(space: RoutingSpace, seed: int) -> Route:
    states = np.random.default_rng(seed).random(len(space.paths)) < 0.5
    return Route(space, tuple(bool(state) for state in states)).normalized()


@pytest.mark.parametrize("seed", range(4))
def test_the_expected_cost_of_gates_of_0_and_1_is_the_routes_cost(seed: int) -> None:
    space = RoutingSpace(6, 16)
    route = random_route(space, seed)
    for gate in ("normal", "none"):
        costs = cost_table(space, (256, 512), 11, gate, "paper")
        fixed = costs.stem.total + whole_head(costs) + sum(costs.gates[node].total for node in space.nodes)
        expected = costs.expected(np.array([route.open], float))
        assert expected[0] == pytest.approx(costs.of_route(route).total - fixed, rel=1e-12)


def test_with_everything_closed_stem_gates_and_a_head_of_one_scale_remain() -> None:
    space = RoutingSpace(4, 16)
    costs = cost_table(space, (256, 512), 11, "normal")
    live = [INIT, *(Node(layer, 0) for layer in range(4))]
    expected = costs.stem.total + costs.head.total + sum(costs.gates[node].total for node in live)
    assert costs.of_route(Route.none(space)).total == expected


def executed_convolutions(network: DynamicRouting, size: tuple[int, int], route: Route) -> int:
    """Multiply-adds of the convolutions that a forward pass runs, from the shapes it runs them on."""
    total = 0

    def count(module: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += module.weight[0].numel() * out.numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, *size), route=route)
    return total


@pytest.mark.parametrize("size", [(64, 96), (96, 160)])
@pytest.mark.parametrize("seed", [0, 1, None])
def test_own_counting_has_the_convolutions_that_run(size: tuple[int, int], seed: int | None) -> None:
    """An ungated network has no other products than its convolutions' and the interpolations'."""
    network = DynamicRouting(5, 8, 7, "none").eval()
    space = network.space
    route = Route.all_open(space) if seed is None else random_route(space, seed)
    counted = cost_table(space, size, 7, "none").of_route(route).multiply_adds
    maps = [(space.channels(i), size[0] >> (2 + i), size[1] >> (2 + i)) for i in range(4)]
    ups = [path.node.scale for path in space.paths if path.kind == "up" and path.kind in route.open_kinds(path.node)]
    enlarged = sum(maps[scale - 1][0] * maps[scale - 1][1] * maps[scale - 1][2] for scale in [*ups, 1, 2, 3])
    assert counted - 4 * (enlarged + 7 * size[0] * size[1]) == executed_convolutions(network, size, route)


def test_a_gate_costs_what_its_operator_does() -> None:
    """By hand, for X 1 x 4 x 8 x 12, two hidden channels and three paths."""
    normal = routing_gate_counts((1, 4, 8, 12), 2, 3, 1)
    assert normal == OperationCounts(96 * 2 * 4 + 3 * 2, 0, 96 * 2 * 3 + 3 * 3, 3)
    small = routing_gate_counts((1, 4, 9, 15), 2, 3, 4)
    assert small == OperationCounts(6 * 2 * 4 + 3 * 2, 0, 6 * 4 * 4 + 6 * 2 * 3 + 3 * 3, 3)
    costs = cost_table(RoutingSpace(4, 4), (32, 64), 5, "normal")
    assert costs.gates[INIT] == routing_gate_counts((1, 4, 8, 16), 2, 2, 1)


def test_sizes_and_routes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="multiples of 32"):
        cost_table(RoutingSpace(4), (360, 480), 11, "normal")
    with pytest.raises(UsageError, match="cost table"):
        cost_table(RoutingSpace(4), (384, 480), 11, "normal").of_route(Route.none(RoutingSpace(5)))
