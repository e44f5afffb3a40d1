"""Static specialization: the route chosen, what it loses, and that the deployment is the route's network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.routed import executed_route
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.deploy.routing.collect import collect_routes
from adroit.deploy.routing.named_routes import common_route, named_route
from adroit.deploy.routing.replay import ReplayAgreement, network_routes, replay
from adroit.deploy.routing.specialize import specialize
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.data.images import ImageSet
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, Node, RoutingSpace
from adroit.models.routing.space import Path as RoutePath
from tests.conftest import Adroit
from tests.deploy.routing.conftest import PIXELS

SPACE = RoutingSpace(4, 8)
KEEP, DOWN, NEXT = RoutePath(INIT, "keep"), RoutePath(INIT, "down"), RoutePath(Node(0, 1), "keep")


@pytest.fixture(scope="module")
def single(checkpoint: Path) -> DynamicRouting:
    network, _ = load_checkpoint(checkpoint)
    assert isinstance(network, DynamicRouting)
    return network


def test_common_is_what_enough_images_use() -> None:
    routes = [Route.of_paths(SPACE, paths) for paths in ([KEEP], [KEEP, DOWN], [KEEP, DOWN, NEXT], [DOWN, NEXT])]
    assert common_route(routes, 0.75) == Route.of_paths(SPACE, [KEEP, DOWN])
    assert common_route(routes) == Route.of_paths(SPACE, [KEEP, DOWN, NEXT])
    assert common_route(routes, 1.0) == Route.none(SPACE)
    # A path whose node nothing reaches does not stay, however many used it.
    apart = [Route.of_paths(SPACE, [NEXT]), Route.of_paths(SPACE, [KEEP, NEXT]), Route.of_paths(SPACE, [NEXT])]
    assert common_route(apart, 0.6) == Route.none(SPACE)
    with pytest.raises(UsageError, match="share above 0"):
        common_route(routes, 0.0)


def test_the_networks_routes_are_the_deployments(
    single: DynamicRouting, deployments: dict[str, Deployment], options: RuntimeOptions, image_set: ImageSet
) -> None:
    deployed = [sample.route for sample in collect_routes(deployments["if"], options, image_set, 0.1)]
    assert network_routes(single, PIXELS, image_set, 0.1) == deployed


def test_replay_of_everything_is_the_dynamic_network(single: DynamicRouting, image_set: ImageSet) -> None:
    results = ReplayAgreement.of(replay(single, PIXELS, image_set, Route.all_open(SPACE)))
    assert (results.images, results.same_class, results.largest_difference) == (10, 1.0, 0.0)


def test_replay_tells_how_far_a_route_is(single: DynamicRouting, network: DynamicRouting, image_set: ImageSet) -> None:
    route = common_route(network_routes(single, PIXELS, image_set))
    results = replay(single, PIXELS, image_set, route)
    for index in (0, 9):
        image = image_set.load(index)
        x = torch.from_numpy(PIXELS.values(image[None])).double()
        with torch.no_grad():
            free, held = (network(x, route=r)[0, :, : image.shape[0], : image.shape[1]].numpy() for r in (None, route))
        assert results[index].largest_difference == pytest.approx(np.abs(held - free).max(), rel=1e-3)
        assert results[index].same_class == pytest.approx((held.argmax(0) == free.argmax(0)).mean(), abs=1e-3)
        assert not (results[index].gates[~np.array(route.open)]).any()
    assert ReplayAgreement.of(results).largest_difference == max(r.largest_difference for r in results) > 0


def test_a_common_deployment_is_the_networks_along_that_route(
    checkpoint: Path, single: DynamicRouting, options: RuntimeOptions, image_set: ImageSet, tmp_path: Path
) -> None:
    chosen = specialize(checkpoint, "common", image_set, share=0.7)
    assert chosen.route == common_route(network_routes(single, PIXELS, image_set), 0.7)
    deployment = export_deployment(
        checkpoint, tmp_path, "common", routing=Routing("static", chosen.route, origin=chosen.origin)
    )
    assert deployment.info.routing is not None and deployment.info.routing.origin == chosen.origin
    assert executed_route(deployment, None) == chosen.route
    with open_runtime(deployment, options) as runtime, torch.no_grad():
        for _, x in image_set.batches(PIXELS, 4):
            expected = single(torch.from_numpy(x), route=chosen.route).numpy()
            results = runtime.run(deployment.feeds(x))["logits"]
            np.testing.assert_allclose(results, expected, atol=1e-4 * np.abs(expected).max())


def test_named_routes(tmp_path: Path) -> None:
    deep = RoutingSpace(9, 8)
    route = named_route("u-net-like", deep)
    (tmp_path / "route.json").write_text(json.dumps(route.to_json()))
    assert named_route(str(tmp_path / "route.json"), deep) == route
    assert (named_route("all", SPACE), named_route("none", SPACE)) == (Route.all_open(SPACE), Route.none(SPACE))
    with pytest.raises(UsageError, match="another network"):
        named_route(str(tmp_path / "route.json"), SPACE)
    with pytest.raises(UsageError, match="there is no route"):
        named_route("u-net", deep)


def test_common_needs_images(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="made from images"):
        specialize(checkpoint, "common")


def test_the_command(checkpoint: Path, image_folder: Path, tmp_path: Path, adroit: Adroit) -> None:
    command = ["export", checkpoint, "-o", tmp_path, "--name", "common", "--route", "common", "--data", image_folder]
    result = adroit(*command)
    assert result.code == 0, result.err
    assert "route common: " in result.out and "of the pixels of 10 images" in result.out
    origin = json.loads((tmp_path / "common" / "adroit.json").read_text())["routing"]["origin"]
    assert origin["name"] == "common" and origin["share"] == 0.5 and origin["agreement"]["images"] == 10
    wrong = adroit("export", checkpoint, "-o", tmp_path, "--data", image_folder)
    assert wrong.code == 2 and "--data is for choosing a route" in wrong.err
