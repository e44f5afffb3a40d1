"""Shift consistency of a deployment beside PyTorch's: the crops that both see, and the figures."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.parity.consistency import ConsistencyReport, compare_consistency
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.metrics.shift_consistency import Batch


def numbered(size: tuple[int, int], count: int = 6) -> ImageSet:
    """Images whose pixel (r, c) is (r, c, image), labeled alternately 0 and 1."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    images = [np.stack([rows, columns, np.full(size, i)], 2).astype(np.uint8) for i in range(count)]
    return ImageSet([f"{i}.png" for i in range(count)], lambda i: images[i], np.arange(count) % 2)


class Watched:
    """A predictor that keeps the crops it saw; it answers with the value at a place, modulo 2."""

    def __init__(self, channel: int, segments: bool = False) -> None:
        self.crops: list[Batch] = []
        self._channel, self._segments = channel, segments

    def __call__(self, x: Batch) -> np.ndarray:
        self.crops.append(x)
        values = x[:, self._channel] if self._segments else x[:, self._channel, 0, 0]
        return np.stack([values % 2 == 0, values % 2 == 1], 1).astype(np.float32)


def deployment_for(deployment: Deployment, task: str = "classification", **preprocessing: Any) -> Deployment:
    """A deployment with free input sizes, whose values are the pixels themselves."""
    spec = msgspec.structs.replace(deployment.info.inputs[0], shape=("batch", 3, "height", "width"))
    plain = Preprocessing(divisor=1.0, **preprocessing)
    return Deployment(
        deployment.path, msgspec.structs.replace(deployment.info, task=task, preprocessing=plain, inputs=(spec,))
    )


def compared(
    deployment: Deployment, images: ImageSet, ours: Watched, theirs: Watched, pixels: int = 9
) -> ConsistencyReport:
    report = compare_consistency(deployment, images, ours, theirs, pixels, passes=4)
    for one, other in zip(ours.crops, theirs.crops, strict=True):
        np.testing.assert_array_equal(one, other)
    return report


def test_each_gets_its_own_figure_on_the_same_crops(resnet_deployment: Deployment) -> None:
    steady, fickle = Watched(2), Watched(0)
    report = compared(deployment_for(resnet_deployment), numbered((20, 30)), steady, fickle)
    assert report.consistent[0] == 100.0
    # The fickle one answers by its crop's first row: the pairs of rows that it saw tell its figure.
    rows = [int(x[0, 0, 0, 0]) % 2 for x in fickle.crops]
    agreed = [a == b for a, b in zip(rows[::2], rows[1::2], strict=True)]
    assert report.consistent[1] == pytest.approx(100.0 * sum(agreed) / len(agreed))
    assert 0 < sum(agreed) < len(agreed)
    assert report.correct is not None
    assert report.correct[0] == 100.0


def test_crops_of_a_free_size_are_what_the_shifts_leave(resnet_deployment: Deployment) -> None:
    watched = Watched(2)
    report = compared(deployment_for(resnet_deployment), numbered((20, 30)), watched, Watched(2))
    assert {x.shape[2:] for x in watched.crops} == {(12, 22)}
    assert report.padding == 0


def test_crops_of_a_fixed_size_come_from_beyond_the_networks_own_crop(resnet_deployment: Deployment) -> None:
    """The paper's case in small: crops of 12 from images of 24 whose middle 20 they cover."""
    watched = Watched(2)
    report = compared(deployment_for(resnet_deployment, crop=(12, 12)), numbered((24, 24)), watched, Watched(2))
    corners = {(int(x[0, 0, 0, 0]), int(x[0, 1, 0, 0])) for x in watched.crops}
    assert {x.shape[2:] for x in watched.crops} == {(12, 12)}
    assert all(2 <= row <= 10 and 2 <= column <= 10 for row, column in corners)
    assert report.padding == 0


def test_images_no_larger_than_the_input_get_a_border(resnet_deployment: Deployment) -> None:
    watched = Watched(2)
    report = compared(deployment_for(resnet_deployment, resize=(12, 16)), numbered((12, 16)), watched, Watched(2))
    assert {x.shape[2:] for x in watched.crops} == {(12, 16)}
    assert report.padding == 8


def test_segmentation_compares_the_pixels_that_crops_share(resnet_deployment: Deployment) -> None:
    deployment = deployment_for(resnet_deployment, "segmentation", pad_multiple=4)
    by_pixel, by_image = Watched(0, True), Watched(2, True)
    report = compared(deployment, numbered((27, 33)), by_pixel, by_image)
    assert report.measure == "overlap agreement"
    assert report.consistent == (100.0, 100.0)
    assert report.correct is None
    # 27 - 8 and 33 - 8 pixels, down to multiples of 4.
    assert {x.shape[2:] for x in by_pixel.crops} == {(16, 24)}


def test_images_that_cannot_move_so_far_are_refused(resnet_deployment: Deployment) -> None:
    with pytest.raises(UsageError, match=r"0.png \(20 x 30 pixels\) is too small to be moved by 24 pixels"):
        compared(deployment_for(resnet_deployment), numbered((20, 30)), Watched(2), Watched(2), 25)
