"""Cost by size of image, and against how hard an image is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.collect import RouteSample, collect_routes
from adroit.deploy.routing.statistics.costs import SizeCost, by_size, loss_correlation
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet
from adroit.models.metrics.segmentation import mean_cross_entropy
from adroit.models.operators.counts import OperationCounts
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace

SPACE = RoutingSpace(4, 8)


def sample(operations: int, loss: float | None, size: tuple[int, int] = (128, 160)) -> RouteSample:
    counts = OperationCounts(multiply_adds=operations)
    return RouteSample("", size, np.zeros(0, np.float32), Route.none(SPACE), counts, counts, loss)


def test_sizes_are_told_apart() -> None:
    result = by_size([sample(8, None, (256, 256)), sample(1, None), sample(3, None)])
    assert result == [SizeCost((128, 160), 2, 2.0), SizeCost((256, 256), 1, 8.0)]


def test_hard_images_that_cost_more_correlate() -> None:
    straight = [sample(10 * i, 0.5 * i) for i in range(1, 5)]
    assert loss_correlation(straight) == pytest.approx(1.0)
    assert loss_correlation([sample(10 * i, -0.5 * i) for i in range(1, 5)]) == pytest.approx(-1.0)
    # Another size costs something else for every image; one without labels has no loss.
    assert loss_correlation([*straight, sample(9999, 0.1, (256, 256)), sample(7, None)]) == pytest.approx(1.0)


@pytest.mark.parametrize("samples", [[], [(1, 0.1), (2, 0.2)], [(1, 0.1)] * 4, [(1, 0.1), (1, 0.2), (1, 0.3)]])
def test_where_nothing_varies_nothing_correlates(samples: list[tuple[int, float]]) -> None:
    assert loss_correlation([*(sample(o, loss) for o, loss in samples), sample(5, None)]) is None


def test_the_loss_is_that_of_the_labeled_pixels() -> None:
    random = np.random.default_rng(0)
    logits = (random.standard_normal((11, 6, 7)) * 30).astype(np.float32)
    labels = random.integers(0, 12, (6, 7)).astype(np.uint8)
    expected = cross_entropy(
        torch.from_numpy(logits)[None].double(), torch.from_numpy(labels)[None].long(), ignore_index=11
    )
    assert mean_cross_entropy(logits, labels) == pytest.approx(float(expected))
    assert mean_cross_entropy(logits, np.full((6, 7), 255, np.uint8)) is None


def test_images_with_label_maps_have_losses(
    deployments: dict[str, Deployment], options: RuntimeOptions, image_set: ImageSet
) -> None:
    loaded = [image_set.load(i) for i in range(len(image_set))]
    maps = [np.full(image.shape[:2], 255 if i == 0 else 1, np.uint8) for i, image in enumerate(loaded)]
    labeled = ImageSet(image_set.names, image_set.load, maps=lambda i: maps[i])
    plain = collect_routes(deployments["if"], options, labeled)
    assert all(result.loss is None for result in plain)
    result = collect_routes(deployments["if"], options, labeled, with_losses=True)
    assert result[0].loss is None and all(one.loss is not None and one.loss > 0 for one in result[1:])
    assert [one.route for one in result] == [one.route for one in plain]
    maps[1] = maps[1][:-1]
    with pytest.raises(UsageError, match="label map of"):
        collect_routes(deployments["if"], options, labeled, with_losses=True)
