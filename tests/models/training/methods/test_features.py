"""Features are the input of the last linear layer, maps those of a named one; nothing stays behind."""

from __future__ import annotations

import pytest
import torch

from adroit.errors import UnsupportedModel, UsageError
from adroit.models.networks.architectures import build_network
from adroit.models.training.methods.features import features_of, last_linear, maps_of

SMALL = {"depth": 10, "widen": 1, "stem_stride": 2}


def test_logits_are_the_last_layer_of_the_features() -> None:
    network = build_network("wide-resnet", SMALL)
    x = torch.randn(5, 3, 16, 16)
    features = features_of(network, x.split(2), "wide-resnet")
    name, linear = last_linear(network, "wide-resnet")
    assert name == "fc" and features.shape == (5, 64) and not network.training
    with torch.no_grad():
        torch.testing.assert_close(linear(features), network(x))


def test_maps_are_of_the_layer_that_is_named() -> None:
    network = build_network("wide-resnet", SMALL)
    x = torch.randn(3, 3, 16, 16)
    assert [m.shape for m in maps_of(network, x.split(2), "layer2")] == [(2, 32, 4, 4), (1, 32, 4, 4)]
    with pytest.raises(UsageError, match="no layer named 'layer7'"):
        list(maps_of(network, [x], "layer7"))
    with pytest.raises(UsageError, match="'fc' makes no feature maps"):
        list(maps_of(network, [x], "fc"))
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_that_ends_otherwise_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="does not end in a linear layer"):
        last_linear(build_network("adder-resnet20"), "adder-resnet20")
