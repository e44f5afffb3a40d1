"""PASA layers of public code become AdaptiveAntiAlias, where that has their padding, sizes and strides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adroit.models.adoption import adopt
from adroit.models.layers.anti_aliasing import AdaptiveAntiAlias
from tests.models.adoption.public_style import Downsample_PASA_group_softmax


class FrozenBatchNorm2d(nn.Module):
    """A norm of fixed statistics without epsilon, as detectors have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(channels) + 0.5)
        self.register_buffer("offset", torch.randn(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale[:, None, None] + self.offset[:, None, None]


def _layer(
    channels: int = 8, size: int = 3, stride: int = 2, pad: str = "reflect", group: int = 4
) -> Downsample_PASA_group_softmax:
    layer = Downsample_PASA_group_softmax(channels, size, stride, pad, group)
    layer.bn.running_mean = torch.randn(group * size**2)
    layer.bn.running_var = torch.rand(group * size**2) + 0.5
    return layer


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("size", "stride", "group"), [(3, 2, 4), (3, 1, 1), (5, 2, 8), (7, 1, 2)])
def test_an_adopted_filter_computes_what_the_original_computes(
    size: int, stride: int, group: int, training: bool
) -> None:
    """The running statistics of training too, which the official code takes at every position."""
    original = _layer(8, size, stride, "reflect", group).double().train(training)
    adoption = adopt(nn.Sequential(original))
    layer = adoption.network[0]
    assert isinstance(layer, AdaptiveAntiAlias) and layer.training is layer.conv.training is training
    x = torch.randn(2, 8, 11, 12, dtype=torch.float64)
    torch.testing.assert_close(adoption.network(x), original(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.bn.running_mean, original.bn.running_mean)
    torch.testing.assert_close(layer.bn.running_var, original.bn.running_var)


def test_the_norm_stays_the_same_object_of_whatever_class_and_epsilon() -> None:
    layers = [_layer(), _layer()]
    layers[0].bn.eps = 0.25
    layers[1].bn = FrozenBatchNorm2d(36)  # type: ignore[assignment]
    norms = [layer.bn for layer in layers]
    adoption = adopt(nn.Sequential(*layers), in_place=True)
    assert len(adoption.adopted) == 2
    assert [layer.bn for layer in adoption.network] == norms


def _changed(change: Callable[[Downsample_PASA_group_softmax], object]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        layer = _layer()
        change(layer)
        return layer

    return build


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: _layer(pad="replicate"), "its padding is ReplicationPad2d; adroit's filter reflects"),
        (lambda: _layer(pad="zero"), "its padding is ZeroPad2d; adroit's filter reflects"),
        (lambda: _layer(stride=4), "its kernel_size is 3 and its stride 4; adroit's filter has 3, 5, 7 and 1, 2"),
        (lambda: _layer(size=9), "its kernel_size is 9 and its stride 2; adroit's filter has 3, 5, 7 and 1, 2"),
        (lambda: _layer(6), "4 groups do not divide the 6 channels that are filtered"),
        (_changed(lambda layer: setattr(layer, "softmax", nn.Sigmoid())), "its softmax is Sigmoid()"),
        (_changed(lambda layer: setattr(layer, "conv", nn.Conv2d(8, 36, 3))), "its conv is Conv2d("),
        (_changed(lambda layer: setattr(layer, "bn", nn.GroupNorm(4, 36))), "its results differ from AdaptiveAntiAlia"),
        (_changed(lambda layer: layer.add_module("extra", nn.ReLU())), "its modules are bn, conv, extra, pad, softmax"),
        (_changed(lambda layer: layer.bn.register_forward_hook(print)), "hooks on its bn would see other tensors"),
        (lambda: type("Downsample_PASA", (nn.Module,), {})(), "adroit has only the adaptive filter whose weights are"),
    ],
)
def test_a_filter_that_the_operator_cannot_express_stays_and_says_why(
    build: Callable[[], nn.Module], reason: str
) -> None:
    network = nn.Sequential(build())
    adoption = adopt(network)
    assert [left.reason[: len(reason)] for left in adoption.left] == [reason]
    assert adoption.adopted == () and type(adoption.network[0]) is type(network[0])
