"""Padding: zeros after normalization, at the bottom and right, that an output can be rid of."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from adroit.errors import UsageError
from adroit.models.data.preprocessing import ROUTED, Preprocessing


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
