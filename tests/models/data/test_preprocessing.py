"""Padding: zeros after normalization, at the bottom and right, that an output can be rid of."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from adroit.errors import UsageError
from adroit.models.data.preprocessing import CIFAR10, IMAGENET, ROUTED, Preprocessing, center_crop


def test_images_are_padded_with_zeros_after_normalization() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 33, 3)).astype(np.uint8)
    x = ROUTED.values(images)
    assert x.shape == (2, 3, 64, 64) and x.dtype == np.float32
    expected = images[..., ::-1].astype(np.float64) - np.array([103.530, 116.280, 123.675])
    np.testing.assert_allclose(x[:, :, :40, :33], expected.transpose(0, 3, 1, 2), atol=1e-4)
    assert not x[:, :, 40:].any() and not x[:, :, :, 33:].any()
    np.testing.assert_array_equal(ROUTED.unpadded(x, (40, 33)), x[:, :, :40, :33])


@pytest.mark.parametrize(("size", "padded"), [((360, 480), (384, 480)), ((32, 64), (32, 64)), ((1, 33), (32, 64))])
def test_padded_sizes(size: tuple[int, int], padded: tuple[int, int]) -> None:
    assert ROUTED.padded_size(size) == padded
    assert replace(ROUTED, resize=size).size == padded
    assert Preprocessing().padded_size(size) == size


def test_padding_is_part_of_the_record() -> None:
    assert Preprocessing.from_json(ROUTED.to_json()) == ROUTED
    older = {k: v for k, v in ROUTED.to_json().items() if k != "pad_multiple"}
    assert Preprocessing.from_json(older).pad_multiple == 1


@pytest.mark.parametrize("value", [0, -32, 1.5, "32"])
def test_impossible_padding_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="pad_multiple"):
        Preprocessing.from_json({**ROUTED.to_json(), "pad_multiple": value})


@pytest.mark.parametrize("pad_multiple", [1, 32])
@pytest.mark.parametrize("crop", [None, (20, 24)])
@pytest.mark.parametrize("resize", [None, (30, 41), 25])
@pytest.mark.parametrize("size", [(24, 25), (37, 60), (61, 33)])
def test_sizes_are_known_without_pixels(
    size: tuple[int, int], resize: tuple[int, int] | int | None, crop: tuple[int, int] | None, pad_multiple: int
) -> None:
    steps = Preprocessing(resize=resize, crop=crop, pad_multiple=pad_multiple)
    image = steps.geometry(np.zeros((*size, 3), np.uint8))
    assert steps.geometry_size(size) == image.shape[:2]
    assert steps.input_size(size) == steps.values(image[None]).shape[2:]
    if steps.size:
        assert steps.input_size(size) == steps.size


def test_an_image_that_is_smaller_than_the_crop_has_no_input_size() -> None:
    with pytest.raises(UsageError, match="an image of 20 x 30 pixels is smaller than the crop of 24 x 24"):
        Preprocessing(resize=20, crop=(24, 24)).input_size((40, 60))


# Of torchvision 0.29.1: Resize(256) of an image, then CenterCrop(224): the size between, and where the crop begins.
TORCHVISION = [
    ((300, 300), (256, 256), (16, 16)),
    ((301, 400), (256, 340), (16, 58)),
    ((333, 500), (256, 384), (16, 80)),
    ((375, 500), (256, 341), (16, 58)),
    ((500, 375), (341, 256), (58, 16)),
    ((256, 341), (256, 341), (16, 58)),
    ((427, 640), (256, 383), (16, 80)),
    ((519, 303), (438, 256), (107, 16)),
    ((1024, 683), (383, 256), (80, 16)),
    ((230, 900), (256, 1001), (16, 388)),
    ((255, 256), (256, 257), (16, 16)),
    ((512, 511), (256, 256), (16, 16)),
]


@pytest.mark.parametrize(("size", "resized", "corner"), TORCHVISION)
def test_sizes_and_crops_are_those_of_torchvision(
    size: tuple[int, int], resized: tuple[int, int], corner: tuple[int, int]
) -> None:
    assert IMAGENET.resized_size(size) == resized
    rows, columns = np.mgrid[: resized[0], : resized[1]]
    places = np.stack([rows % 256, columns % 256, rows // 256 * 16 + columns // 256], axis=2).astype(np.uint8)
    first = center_crop(places, (224, 224))[0, 0].astype(int)
    assert (first[0] + first[2] // 16 * 256, first[1] + first[2] % 16 * 256) == corner


def test_images_of_all_sizes_become_cifars() -> None:
    for size in ((32, 32), (3008, 2000), (20, 50)):
        assert CIFAR10.input_size(size) == (32, 32)
