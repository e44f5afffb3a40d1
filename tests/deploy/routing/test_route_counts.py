"""A route's counted cost is that of the operators which the network executes along it, exactly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from adroit.models.networks.architectures import build_network
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.cost import cost_table
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace, StemShape
from tests.deploy.measure.executed import InstrumentedNetwork

SIZES = [(128, 128), (128, 160), (192, 128)]
ROUTES, CLASSES = 20, 19


@pytest.fixture(scope="module", params=["dynamic-a", "dynamic-raw-16", "dynamic-raw-33"])
def network(request: pytest.FixtureRequest) -> DynamicRouting:
    """The preset as it is; its weights do not matter, since the route is given."""
    built = build_network(request.param)
    assert isinstance(built, DynamicRouting)
    return built.eval()


@pytest.fixture(scope="module")
def instrumented(network: DynamicRouting) -> Iterator[InstrumentedNetwork]:
    with InstrumentedNetwork(network) as created:
        yield created


def random_routes(space: RoutingSpace) -> list[Route]:
    """Draws routes from nearly closed to nearly open."""
    random = np.random.default_rng(0)
    shares = np.linspace(0.1, 0.95, ROUTES)
    return [Route(space, tuple(bool(v) for v in random.random(len(space.paths)) < share)) for share in shares]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_counts_are_those_of_an_instrumented_run(
    size: tuple[int, int], network: DynamicRouting, instrumented: InstrumentedNetwork
) -> None:
    space = network.space
    own, paper = (cost_table(space, size, CLASSES, network.gate, counting) for counting in ("own", "paper"))
    # The paper counts every gate and the whole head, reached or not, and a stem of the padded size.
    whole = instrumented.run(size, Route.all_open(space), padded_stem=True).paper
    # A route's cost is a sum over its parts: at further sizes a few routes will do in which every path is open once.
    routes = random_routes(space) if size == SIZES[0] else [*random_routes(space)[4::5], Route.all_open(space)]
    assert all(any(opened) for opened in zip(*(route.open for route in routes), strict=True))
    for route in routes:
        executed = instrumented.run(size, route)
        assert own.of_route(route) == executed.own
        assert paper.of_route(route).total == executed.paper["other"] + whole["stem"] + whole["gate"] + whole["head"]
    assert len({own.of_route(route).total for route in random_routes(space)}) == ROUTES


@pytest.mark.parametrize(
    "stem", [StemShape(16), StemShape(12, separable=False), StemShape(0, separable=False)], ids=str
)
def test_stems_of_other_shapes_are_counted(stem: StemShape) -> None:
    network = DynamicRouting(3, 8, CLASSES, "small", stem=stem).eval()
    route = Route.all_open(network.space)
    own, paper = (cost_table(network.space, SIZES[1], CLASSES, "small", form, stem) for form in ("own", "paper"))
    with InstrumentedNetwork(network) as instrumented:
        assert own.of_route(route) == instrumented.run(SIZES[1], route).own
        assert paper.stem.total == instrumented.run(SIZES[1], route, padded_stem=True).paper["stem"]


def test_a_baked_route_asks_no_gate_of_a_closed_node(
    network: DynamicRouting, instrumented: InstrumentedNetwork
) -> None:
    space, size = network.space, SIZES[0]
    costs = cost_table(space, size, CLASSES, network.gate)
    route = random_routes(space)[4].normalized()
    idle = [node for node in space.nodes if route.is_live(node) and not route.is_open(node)]
    gates = sum(costs.gates[node].total for node in idle)
    assert idle and costs.of_route(route, baked=True).total == costs.of_route(route).total - gates
    assert costs.of_route(route, baked=True) == instrumented.run(size, route, asking=False).own
