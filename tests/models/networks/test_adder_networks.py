"""The adder networks: sizes, published layout, outputs."""

from __future__ import annotations

import pytest
import torch

from adroit.deploy.measure.counts import count_model
from adroit.errors import UsageError
from adroit.models.checkpoints.importers import LAYOUTS
from adroit.models.layers.adder import AdderConv2d
from adroit.models.networks.architectures import ARCHITECTURES, build_network


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("name", "count"), [("adder-resnet20", 272_484), ("adder-resnet50", 25_559_032)])
def test_parameter_counts_are_the_papers(name: str, count: int) -> None:
    assert parameters(build_network(name)) == count


def test_adder_parameters_of_resnet50() -> None:
    layers = [m for m in build_network("adder-resnet50").modules() if isinstance(m, AdderConv2d)]
    assert sum(parameters(layer) for layer in layers) == 23_445_504


@pytest.mark.parametrize(("name", "keys"), [("adder-resnet20", 132), ("adder-resnet50", 325)])
def test_published_layout(name: str, keys: int) -> None:
    network = build_network(name)
    published = [LAYOUTS[name].key(network, key) for key in network.state_dict()]
    assert len(published) == len(set(published)) == keys
    assert "layer2.0.downsample.0.adder" in published
    assert {"conv1.weight", "fc.weight", "bn2.running_mean"} <= set(published)


@pytest.mark.parametrize("name", [n for n in ARCHITECTURES if n.startswith("adder-")])
def test_logits_have_the_classes(name: str) -> None:
    known = ARCHITECTURES[name]
    size = (64, 64) if known.any_size else known.input_size
    network = build_network(name, {"classes": 7}).eval()
    with torch.no_grad():
        assert network(torch.randn(2, len(known.preprocessing.mean), *size)).shape == (2, 7)


def test_ordinary_convolutions_have_the_same_topology() -> None:
    adder, ordinary = (build_network("adder-resnet20", {"kind": kind}) for kind in ("adder", "ordinary"))
    assert parameters(adder) == parameters(ordinary)
    assert {k: v.shape for k, v in adder.state_dict().items()} == {k: v.shape for k, v in ordinary.state_dict().items()}


def test_unknown_names_and_arguments_are_told() -> None:
    with pytest.raises(UsageError, match="did you mean adder-resnet20"):
        build_network("adder-resnet-20")
    with pytest.raises(UsageError, match="no argument depth"):
        build_network("adder-resnet20", {"depth": 3})


def test_operations_of_resnet20_are_the_papers(resnet_deployment: object) -> None:
    model = resnet_deployment.load_model()  # type: ignore[attr-defined]
    counts = count_model(model, {"image": (1, 3, 32, 32)}).total
    assert counts.absolute_differences == 40_370_176
    assert counts.multiply_adds == 443_008
    four = count_model(model, {"image": (4, 3, 32, 32)}).total
    assert four.absolute_differences == 4 * counts.absolute_differences
