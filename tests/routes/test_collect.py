"""Collected routes are those of the float64 network, image by image, with their cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploy.entry import Entry
from deploy.export.entry import export_entry
from deploy.routes.collect import collect_routes
from deploy.runtimes.choices import RuntimeName
from deploy.runtimes.open import RuntimeOptions
from models.data.images import ImageSet
from models.errors import UsageError
from models.networks.dynamic_routing.network import DynamicRouting
from models.routing.cost import cost_table
from models.routing.route import Route
from tests.routes.conftest import PIXELS, pixels


@pytest.mark.parametrize("form", ["masked", "if", "torch"])
def test_samples_are_the_networks_own_gates_and_routes(
    form: str, entries: dict[str, Entry], options: RuntimeOptions, image_set: ImageSet, network: DynamicRouting
) -> None:
    if form == "torch":
        samples = collect_routes(entries["if"], RuntimeOptions(RuntimeName.torch, threads=1), image_set, 0.2)
    else:
        samples = collect_routes(entries[form], options, image_set, 0.2)
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
    entries: dict[str, Entry], options: RuntimeOptions, image_set: ImageSet
) -> None:
    seen: list[tuple[int, int]] = []
    alone = collect_routes(entries["if"], options, image_set, batch=1)
    together = collect_routes(entries["if"], options, image_set, batch=8, progress=lambda *at: seen.append(at))
    assert [sample.route for sample in alone] == [sample.route for sample in together]
    assert seen == [(8, 10), (10, 10)]


def test_a_higher_threshold_opens_less(entries: dict[str, Entry], options: RuntimeOptions, image_set: ImageSet) -> None:
    low, high = (collect_routes(entries["if"], options, image_set, threshold) for threshold in (0.0, 0.6))
    assert sum(s.operations.total for s in high) < sum(s.operations.total for s in low)


def test_images_that_are_too_small_are_refused(entries: dict[str, Entry], options: RuntimeOptions) -> None:
    small = pixels(1, (64, 200))
    with pytest.raises(UsageError, match="at least 128, not 64 x 224"):
        collect_routes(entries["if"], options, ImageSet(["small.png"], lambda i: small[i]))


def test_networks_without_routes_are_refused(
    lenet_entry: Entry, options: RuntimeOptions, image_set: ImageSet, tmp_path
) -> None:
    from models.checkpoint import CheckpointConfig, save_checkpoint
    from tests.networks.routed import routed_network

    with pytest.raises(UsageError, match="no routing space"):
        collect_routes(lenet_entry, options, image_set)
    arguments = {"depth": 3, "width": 8, "gate": "none", "classes": 5}
    config = CheckpointConfig("dynamic-small", PIXELS, arguments)
    save_checkpoint(tmp_path / "checkpoint", routed_network(3, 8, "none").float(), config)
    with pytest.raises(UsageError, match="no gates"):
        collect_routes(export_entry(tmp_path / "checkpoint", tmp_path, "fixed"), options, image_set)
