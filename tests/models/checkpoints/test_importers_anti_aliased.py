"""Importing anti-aliased networks in their official layout, from files that are laid out as published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adroit.errors import UnsupportedModel
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.checkpoints.importers import import_checkpoint
from adroit.models.networks.architectures import build_network


def publish(name: str, path: Path, arguments: dict[str, Any], wrapper: str, prefix: str) -> dict[str, torch.Tensor]:
    """Writes a network's state as the official training scripts do; returns the state."""
    torch.manual_seed(1)
    state = build_network(name, arguments).state_dict()
    wrapped = {prefix + key: value for key, value in state.items()}
    torch.save({"epoch": 89, "arch": "resnet", wrapper: wrapped, "best_acc1": 70.0}, path)
    return state


@pytest.mark.parametrize(
    ("name", "arguments", "wrapper", "prefix"),
    [
        ("aa-resnet18", {}, "state_dict", "module."),
        ("aa-resnet50", {"filter": "binomial"}, "state_dict", "module."),
        ("aa-resnet34", {"filter_size": 5, "classes": 10}, "state_dict", "module."),
        ("aa-deeplabv3plus-resnet101", {}, "model_state", ""),
    ],
)
def test_published_weights_become_a_checkpoint(
    tmp_path: Path, name: str, arguments: dict[str, Any], wrapper: str, prefix: str
) -> None:
    published = publish(name, tmp_path / "published.pth", arguments, wrapper, prefix)
    import_checkpoint(name, tmp_path / "published.pth", tmp_path / "ours", arguments)
    network, config = load_checkpoint(tmp_path / "ours")
    assert config.arguments == arguments
    assert not network.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, published[key]), key


def broken(tmp_path: Path, change: Any) -> Path:
    state = build_network("aa-resnet18").state_dict()
    change(state)
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "broken.pth")
    return tmp_path / "broken.pth"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("maxpool.1.conv.weight"), "missing +maxpool.1.conv.weight"),
        (
            lambda s: s.update({"layer2.0.conv2.0.conv.weight": torch.zeros(72, 128, 3, 3)}),
            r"layer2.0.conv2.0.conv.weight is \[72, 128, 3, 3\], expected \[18, 128, 3, 3\]",
        ),
        (lambda s: s.update({"layer2.0.conv2.weight": torch.zeros(1)}), "unexpected +layer2.0.conv2.weight"),
        (lambda s: s["layer3.0.downsample.0.bn.weight"].fill_(torch.nan), "NaN, infinite"),
    ],
    ids=["missing", "another group count", "plain name", "not finite"],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        import_checkpoint("aa-resnet18", broken(tmp_path, change), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_plain_checkpoint_is_not_taken_for_an_anti_aliased_one(tmp_path: Path) -> None:
    publish("aa-resnet18", tmp_path / "plain.pth", {"filter": "none"}, "state_dict", "")
    with pytest.raises(UnsupportedModel, match="does not hold the weights of aa-resnet18"):
        import_checkpoint("aa-resnet18", tmp_path / "plain.pth", tmp_path / "ours")
    import_checkpoint("aa-resnet18", tmp_path / "plain.pth", tmp_path / "ours", {"filter": "none"})
