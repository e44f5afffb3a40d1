"""A training whose numbers leave the finite names the layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from adroit.errors import UnsupportedModel
from adroit.models.training import assembly
from adroit.models.training.loop import train
from adroit.models.training.watch import all_finite, first_fault
from tests.models.training.conftest import image_recipe, quiet


class Root(nn.Module):
    """Infinite gradient at 0."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 0).sqrt()


class Overflow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1e38 * 1e38


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (nn.Identity(), "the loss itself"),
        (Overflow(), "the output of 1"),
        (Root(), "the gradient of the output of 0"),
    ],
)
def test_the_first_layer_is_named(spoil: nn.Module, place: str) -> None:
    network = nn.Sequential(nn.Linear(3, 3), spoil, nn.Linear(3, 1))
    assert first_fault(network, lambda: network(torch.ones(2, 3)).sum()) == place


def test_spoilt_weights_are_named() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    with torch.no_grad():
        network[1].bias[0] = float("nan")
    assert first_fault(network, lambda: network(torch.ones(2, 3)).sum()) == "the weights 1.bias"


def test_all_finite_sees_one_element_of_many() -> None:
    tensors = [torch.ones(100), torch.ones(3, 3)]
    assert all_finite(tensors) and all_finite([])
    tensors[1][1, 1] = float("inf")
    assert not all_finite(tensors)


def test_a_training_stops_at_the_layer(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = assembly.build_network

    def spoilt(*arguments: object) -> nn.Module:
        network = real(*arguments)  # type: ignore[arg-type]
        network.layer2[0].bn1 = Overflow()  # type: ignore[index, union-attr]
        return network

    monkeypatch.setattr(assembly, "build_network", spoilt)
    with pytest.raises(UnsupportedModel, match=r"the loss is nan in epoch 1, step 1") as caught:
        train(image_recipe(images), "", tmp_path / "a", quiet)
    assert caught.value.facts["first in"] == "the output of layer2.0.bn1"
    assert list(tmp_path.iterdir()) == []
