"""Blur pools of public code become BinomialFilter, at every size, stride and padding that they have."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adroit.models.adoption import adopt
from adroit.models.layers.anti_aliasing import BinomialFilter
from tests.models.adoption.public_style import BlurPool, BlurPool2d


def _assert_adopted(original: nn.Module, channels: int = 3) -> BinomialFilter:
    adoption = adopt(nn.Sequential(original))
    layer = adoption.network[0]
    assert isinstance(layer, BinomialFilter) and len(adoption.adopted) == 1
    for size in ((13, 14), (16, 15)):
        x = torch.randn(2, channels, *size)
        assert torch.equal(adoption.network(x), original(x))
    return layer


@pytest.mark.parametrize("pad_type", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", range(1, 8))
def test_a_blur_pool_of_antialiased_cnns_computes_the_same_bits(size: int, stride: int, pad_type: str) -> None:
    _assert_adopted(BlurPool(3, pad_type, size, stride))


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize("offset", [1, 2])
def test_a_blur_pool_with_more_padding_keeps_it(size: int, offset: int) -> None:
    layer = _assert_adopted(BlurPool(3, "replicate", size, 2, offset))
    assert layer.padding == ((size - 1) // 2 + offset, size // 2 + offset) * 2


@pytest.mark.parametrize("pad_mode", ["reflect", "constant", "replicate"])
@pytest.mark.parametrize("channels", [3, None])
@pytest.mark.parametrize(("size", "stride"), [(3, 2), (5, 2), (4, 2), (4, 1), (3, 3), (2, 2)])
def test_a_blur_pool_of_timm_computes_the_same_bits(
    size: int, stride: int, channels: int | None, pad_mode: str
) -> None:
    _assert_adopted(BlurPool2d(channels, size, stride, pad_mode))


def test_a_blur_pool_without_a_number_of_channels_takes_any() -> None:
    _assert_adopted(BlurPool2d(None), channels=1)
    _assert_adopted(BlurPool2d(None), channels=5)


def test_the_filter_is_taken_from_the_module() -> None:
    original = BlurPool(3, filt_size=3)
    original.filt = torch.randn(3, 1, 3, 3)
    assert torch.equal(_assert_adopted(original).filt, original.filt)


def test_a_filter_of_one_dimension_stays_and_says_why() -> None:
    layer = type("BlurPool1D", (BlurPool,), {})(3)
    (left,) = adopt(nn.Sequential(layer)).left
    assert left.reason == "it filters one dimension; BinomialFilter has two"


def test_other_things_of_the_same_names_are_none_of_ours() -> None:
    downsample = type("Downsample", (nn.Conv2d,), {})(3, 3, 2)
    adoption = adopt(nn.Sequential(downsample))
    assert adoption.left == () and adoption.adopted == ()


def test_a_padding_of_another_kind_stays_and_says_why() -> None:
    circular = BlurPool2d(3, pad_mode="circular")
    cropped = BlurPool(3)
    cropped.pad = nn.Identity()
    assert [left.reason for left in adopt(nn.Sequential(circular, cropped)).left] == [
        "its pad_mode is 'circular', not one of reflect, replicate, constant",
        "its padding is Identity(), not one of antialiased_cnns'",
    ]
