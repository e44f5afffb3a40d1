"""Wide residual networks: sizes that the papers give, both shortcuts, and depths that there are."""

from __future__ import annotations

import pytest
import torch

from adroit.errors import UsageError
from adroit.models.networks.architectures import build_network
from adroit.models.networks.wide_resnet import PaddedShortcut


def test_parameters_of_wrn_28_10_are_the_papers() -> None:
    with torch.device("meta"):
        network = build_network("wide-resnet")
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(36.5e6, rel=1e-3)  # 1605.07146, table 4


@pytest.mark.parametrize("shortcut", ["projection", "padding"])
@pytest.mark.parametrize(("stem_stride", "side"), [(1, 8), (2, 4)])
def test_maps_are_halved_twice_and_logits_come_out(shortcut: str, stem_stride: int, side: int) -> None:
    arguments = {"depth": 16, "widen": 1, "classes": 7, "slope": 0.1, "shortcut": shortcut, "stem_stride": stem_stride}
    network = build_network("wide-resnet", arguments)
    sides = []
    network.get_submodule("layer3").register_forward_hook(lambda _, __, out: sides.append(tuple(out.shape[1:])))
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert sides == [(64, side, side)]
    assert (sum(isinstance(m, torch.nn.LeakyReLU) for m in network.modules())) == 13


def test_a_padded_shortcut_pools_and_adds_zeros_on_both_sides() -> None:
    x = torch.randn(1, 3, 4, 4)
    out = PaddedShortcut(3, 8, 2)(x)
    torch.testing.assert_close(out[:, 2:5], torch.nn.functional.avg_pool2d(x, 2))
    assert out.shape == (1, 8, 2, 2) and not out[:, :2].any() and not out[:, 5:].any()


@pytest.mark.parametrize(("name", "value"), [("depth", 12), ("depth", 4), ("shortcut", "none")])
def test_what_there_is_not_is_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=str(value)):
        build_network("wide-resnet", {name: value})
