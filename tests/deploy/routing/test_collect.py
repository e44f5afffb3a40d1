"""Collected routes are those of the float64 network, image by image, with their cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import export_deployment
from adroit.deploy.routing.collect import collect_routes
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.cost import cost_table
from adroit.models.routing.route import Route
from tests.deploy.routing.conftest import PIXELS, pixels


@pytest.mark.parametrize("form", ["masked", "if", "torch"])
def test_samples_are_the_networks_own_gates_and_routes(
    form: str, deployments: dict[str, Deployment], options: RuntimeOptions, image_set: ImageSet, network: DynamicRouting
) -> None:
    if form == "torch":
        samples = collect_routes(deployments["if"], RuntimeOptions(RuntimeName.torch, threads=1), image_set, 0.2)
    else:
        samples = collect_routes(deployments[form], options, image_set, 0.2)
    assert [sample.image for sample in samples] == list(image_set.names)
    for index, sample in enumerate(samples):
        x = torch.from_numpy(PIXELS.values(image_set.load(index)[None])).double()
        with torch.no_grad():
            gates = network(x, torch.tensor([0.2]), with_gates=True)[1][0].numpy()
        np.testing.assert_allclose(sample.gates, gates, atol=1e-4)
        assert sample.size == (x.shape[2], x.shape[3])
        assert sample.route == Route.from_gates(network.space, gates)
        table = cost_table(network.space, sample.size, 11, "small")
        assert sample.operations == table.of_route(sample.route)
        assert sample.paper == cost_table(network.space, sample.size, 11, "small", "paper").of_route(sample.route)
    assert len({sample.route for sample in samples}) > 3


def test_results_do_not_depend_on_the_batch(
    deployments: dict[str, Deployment], options: RuntimeOptions, image_set: ImageSet
) -> None:
    seen: list[tuple[int, int]] = []
    alone = collect_routes(deployments["if"], options, image_set, batch=1)
    together = collect_routes(deployments["if"], options, image_set, batch=8, progress=lambda *at: seen.append(at))
    assert [sample.route for sample in alone] == [sample.route for sample in together]
    assert seen == [(8, 10), (10, 10)]


def test_a_higher_threshold_opens_less(
    deployments: dict[str, Deployment], options: RuntimeOptions, image_set: ImageSet
) -> None:
    low, high = (collect_routes(deployments["if"], options, image_set, threshold) for threshold in (0.0, 0.6))
    assert sum(s.operations.total for s in high) < sum(s.operations.total for s in low)


def test_images_that_are_too_small_are_refused(deployments: dict[str, Deployment], options: RuntimeOptions) -> None:
    small = pixels(1, (64, 200))
    with pytest.raises(UsageError, match="at least 128, not 64 x 224"):
        collect_routes(deployments["if"], options, ImageSet(["small.png"], lambda i: small[i]))


def test_networks_without_routes_are_refused(
    lenet_deployment: Deployment, options: RuntimeOptions, image_set: ImageSet, tmp_path
) -> None:
    from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
    from tests.models.networks.routed import routed_network

    with pytest.raises(UsageError, match="no routing space"):
        collect_routes(lenet_deployment, options, image_set)
    arguments = {"depth": 3, "width": 8, "gate": "none", "classes": 5}
    config = CheckpointConfig("dynamic-small", PIXELS, arguments)
    save_checkpoint(tmp_path / "checkpoint", routed_network(3, 8, "none").float(), config)
    with pytest.raises(UsageError, match="no gates"):
        collect_routes(export_deployment(tmp_path / "checkpoint", tmp_path, "fixed"), options, image_set)
