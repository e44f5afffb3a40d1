"""Adder layers of public code become AdderConv2d; copies of other arithmetic stay what they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from adroit.models.adoption import adopt
from adroit.models.layers.adder import AdderConv2d
from tests.models.adoption.public_style import adder2d


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (5, 3, 2), (1, 1, 2)])
def test_an_adopted_adder_layer_computes_what_the_original_computes(
    kernel: int, stride: int, padding: int, bias: bool
) -> None:
    original = adder2d(3, 9, kernel, stride, padding, bias).double()
    adoption = adopt(nn.Sequential(original))
    (adopted,), layer = adoption.adopted, adoption.network[0]
    assert (adopted.paths, adopted.class_name) == (("0",), "tests.models.adoption.public_style.adder2d")
    assert adopted.difference is not None and adopted.difference < 1e-12
    assert isinstance(layer, AdderConv2d) and (layer.bias is not None) is bias
    x = torch.randn(2, 3, 11, 12, dtype=torch.float64)
    torch.testing.assert_close(adoption.network(x), original(x), rtol=1e-13, atol=1e-13)


def test_a_layer_keeps_its_parameters_frozen_ones_too() -> None:
    original = adder2d(2, 3, 3, bias=True)
    original.adder.requires_grad_(False)
    layer = adopt(nn.Sequential(original), in_place=True).network[0]
    assert layer.weight is original.adder and layer.bias is original.b
    assert (layer.weight.requires_grad, layer.bias.requires_grad) == (False, True)


def test_equal_pairs_are_one_number() -> None:
    original = adder2d(2, 3, 3, padding=1)
    original.stride = (2, 2)  # type: ignore[assignment]
    (adopted,) = adopt(nn.Sequential(original)).adopted
    assert adopted.replacement == "AdderConv2d(3x2x3x3, stride=2, padding=1)"


def _with(name: str, value: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        layer = adder2d(2, 3, 3)
        setattr(layer, name, value)
        return layer

    return build


class _Squared(adder2d):
    def distances(self, x: Tensor) -> Tensor:
        return -(super().distances(x) ** 2)


class _Clamped(adder2d):
    """Ranges of 8 bits, as in copies that train for integers."""

    def distances(self, x: Tensor) -> Tensor:
        return super().distances(x.clamp(-8.0, 8.0))


class _Optional(adder2d):
    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return super().forward(x) * scale


class _Other(nn.Module):
    """A copy that other people wrote, with names of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2, 3, 3))


def _renamed(name: str, base: type[nn.Module]) -> type[nn.Module]:
    return type(name, (base,), {})


@torch.no_grad()
def _pruned() -> nn.Module:
    prune.random_unstructured(layer := adder2d(2, 3, 3), "adder", 0.5)
    return layer


def _replaced_forward() -> nn.Module:
    layer = adder2d(2, 3, 3)
    layer.forward = lambda x: x  # type: ignore[method-assign]
    return layer


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (_with("dilation", 2), "its dilation is 2; AdderConv2d has no such option"),
        (_with("groups", 2), "its groups is 2; AdderConv2d has no such option"),
        (_with("quantize", True), "its quantize is True; AdderConv2d has no such option"),
        (_with("sparsity", 0.5), "its sparsity is 0.5; AdderConv2d has no such option"),
        (_with("stride", (1, 2)), "its stride is (1, 2), not one whole number"),
        (_with("padding", "same"), "its padding is 'same', not one whole number"),
        (_with("bias", True), "its `bias` does not agree with its parameter `b`"),
        (_with("scale", nn.Parameter(torch.ones(1))), "its parameters are adder, scale, not adder"),
        (_pruned, "its parameters are adder_orig, not adder"),
        (lambda: parametrizations.orthogonal(adder2d(2, 3, 3), "adder"), "its parameters are none, not adder"),
        (lambda: _renamed("adder2d", _Squared)(2, 3, 3), "its results differ from AdderConv2d's by"),
        (lambda: _renamed("adder2d", _Clamped)(2, 3, 3), "its results differ from AdderConv2d's by"),
        (lambda: _renamed("adder2d", _Optional)(2, 3, 3), "its `forward` takes (x, scale), not one tensor"),
        (_replaced_forward, "its `forward` was replaced"),
        (lambda: _renamed("Adder2d", _Other)(), "its parameters are weight, not adder"),
        (lambda: _renamed("FastAdderLayer", _Other)(), "adroit does not know this adder layer"),
    ],
)
def test_a_layer_of_other_arithmetic_stays_and_says_why(build: Callable[[], nn.Module], reason: str) -> None:
    network = nn.Sequential(build())
    adoption = adopt(network)
    assert [left.reason[: len(reason)] for left in adoption.left] == [reason]
    assert adoption.adopted == () and type(adoption.network[0]) is type(network[0])


def test_a_ladder_is_no_adder() -> None:
    adoption = adopt(nn.Sequential(_renamed("LadderBlock", _Other)()))
    assert adoption.left == () and adoption.adopted == ()


class Adder2D(adder2d):
    """ShiftAddNet's layer, whose kernels need a GPU."""

    def __init__(self, *arguments: int) -> None:
        super().__init__(*arguments)
        self.eta, self.quantize, self.weight_bits, self.sparsity = 0.1, False, 8, 0
        self.quantize_v, self.qadder = "sbm", None

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("input must be a CUDA tensor")


def test_a_layer_whose_kernels_need_a_gpu_is_adopted_if_it_is_exactly_the_published_one() -> None:
    adoption = adopt(nn.Sequential(Adder2D(2, 3, 3)))
    (adopted,) = adoption.adopted
    assert adopted.difference is None
    assert adopted.note == "not compared, since it does not run here: RuntimeError: input must be a CUDA tensor"
    assert adoption.network[0].eta == 0.1


def test_a_layer_that_cannot_run_and_has_other_attributes_stays() -> None:
    layer = Adder2D(2, 3, 3)
    layer.mystery = 1
    (left,) = adopt(nn.Sequential(layer)).left
    assert left.reason == "it cannot be compared, since it does not run here: RuntimeError: input must be a CUDA tensor"
