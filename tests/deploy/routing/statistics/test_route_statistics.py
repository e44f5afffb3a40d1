"""Statistics of routes, against counts made by hand and by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.collect import RouteSample, collect_routes, deployment_costs, route_samples
from adroit.deploy.routing.statistics.route_statistics import route_statistics
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, Node, Path, RoutingSpace

SPACE, SIZE = RoutingSpace(4, 8), (128, 160)


def sample(deployment: Deployment, name: str, open_gates: dict[Path, float]) -> RouteSample:
    gates = np.array([[open_gates.get(path, 0.0) for path in SPACE.paths]], np.float32)
    return route_samples(deployment, [name], gates, SIZE)[0]


KEEP, DOWN, NEXT = Path(INIT, "keep"), Path(INIT, "down"), Path(Node(0, 1), "keep")


@pytest.fixture
def four(deployments: dict[str, Deployment]) -> list[RouteSample]:
    """Two images by one route, two by two others."""
    return [
        sample(deployments["if"], "a", {KEEP: 0.5}),
        sample(deployments["if"], "b", {KEEP: 0.75}),
        sample(deployments["if"], "c", {DOWN: 0.25, NEXT: 0.21875}),
        sample(deployments["if"], "d", {KEEP: 0.5, DOWN: 1.0}),
    ]


def test_by_hand(four: list[RouteSample], deployments: dict[str, Deployment]) -> None:
    result = route_statistics(deployments["if"], four, gate_threshold=0.1875)
    assert result.entropy == pytest.approx(1.5)  # shares 1/2, 1/4, 1/4
    assert [share.images for share in result.routes] == [2, 1, 1]
    assert result.routes[0].route == Route.of_paths(SPACE, [KEEP])
    assert (result.top_share(1), result.top_share(2), result.top_share(8)) == (0.5, 0.75, 1.0)
    at = {path: place for place, path in enumerate(SPACE.paths)}
    assert [result.path_open[at[path]] for path in (KEEP, DOWN, NEXT)] == [0.75, 0.5, 0.25]
    assert result.mean_gates[at[DOWN]] == pytest.approx(0.625)
    nodes = dict(zip(SPACE.nodes, zip(result.node_open, result.node_live, strict=True), strict=True))
    assert nodes[INIT] == (1.0, 1.0)
    assert nodes[Node(0, 1)] == (0.25, 1.0)  # an open init node sends something down, be it zeros
    margins = result.margins
    assert (margins.minimum, margins.image, margins.path) == (pytest.approx(0.03125), "c", "0.1 keep")
    assert margins.near == pytest.approx(1 / 6)
    assert sum(margins.histogram) == 6 and margins.histogram[0] == 1
    costs = [s.operations.total for s in four]
    assert (result.operations.mean, result.operations.minimum, result.operations.maximum) == (
        pytest.approx(np.mean(costs)),
        min(costs),
        max(costs),
    )
    table = deployment_costs(deployments["if"], SIZE)
    assert (result.all_open, result.all_closed) == tuple(
        table.of_route(route).total for route in (Route.all_open(SPACE), Route.none(SPACE))
    )


def test_the_batch_effect_is_that_of_all_batches(four: list[RouteSample], deployments: dict[str, Deployment]) -> None:
    table = deployment_costs(deployments["if"], SIZE)
    result = {b.batch: b for b in route_statistics(deployments["if"], four).batches}
    assert list(result) == [1, 2, 4]
    assert result[1].operations == pytest.approx(np.mean([s.operations.total for s in four])) and result[1].ratio == 1.0
    pairs = [table.of_route(Route.union([a.route, b.route])).total for a, b in itertools.combinations(four, 2)]
    assert result[2].operations == pytest.approx(np.mean(pairs), rel=0.02)
    assert result[4].operations == table.of_route(Route.union([s.route for s in four])).total


def test_images_that_are_alike_cost_no_more_together(deployments: dict[str, Deployment]) -> None:
    alike = [sample(deployments["if"], str(i), {KEEP: 0.5}) for i in range(16)]
    result = route_statistics(deployments["if"], alike)
    assert [batch.ratio for batch in result.batches] == [1.0] * 5
    assert result.entropy == 0.0


def test_of_real_images(deployments: dict[str, Deployment], options: RuntimeOptions, image_set: ImageSet) -> None:
    samples = collect_routes(deployments["if"], options, image_set)
    result = route_statistics(deployments["if"], samples)
    ratios = [batch.ratio for batch in result.batches]
    assert [batch.batch for batch in result.batches] == [1, 2, 4, 8]
    assert ratios[0] == 1.0 < ratios[1] < ratios[2]
    assert result.all_closed <= result.operations.minimum <= result.operations.maximum <= result.all_open
    assert 0 < result.entropy <= np.log2(len(samples))
    values = result.to_json()
    assert [values["routes"][image["route"]]["route"] for image in values["images"]] == [
        s.route.to_json() for s in samples
    ]
    assert sum(route["images"] for route in values["routes"]) == len(samples)


def test_everything_closed_has_no_margin(deployments: dict[str, Deployment]) -> None:
    result = route_statistics(deployments["if"], [sample(deployments["if"], "a", {})])
    assert result.margins.minimum is None and result.margins.near == 0.0
    assert result.operations.mean == result.all_closed


def test_no_images_are_refused(deployments: dict[str, Deployment]) -> None:
    with pytest.raises(UsageError, match="no images"):
        route_statistics(deployments["if"], [])
