"""Importing dynamic-routing checkpoints in the published layout."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from adroit.errors import UnsupportedModel, UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.checkpoints.importers import import_checkpoint
from adroit.models.networks.architectures import build_network
from tests.conftest import Adroit

SMALL = {"depth": 3, "width": 4, "classes": 5}


def published(arguments: dict[str, Any], prefix: str = "module.") -> dict[str, Any]:
    """A training checkpoint as the official code writes it: weights under "model", and its other state."""
    torch.manual_seed(0)
    state = build_network("dynamic-small", arguments).state_dict()
    return {
        "model": {prefix + name: torch.rand_like(t) if t.is_floating_point() else t for name, t in state.items()},
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.05, "params": [0]}]},
        "scheduler": {"last_epoch": 190000},
        "iteration": 190000,
    }


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("gate", ["normal", "none"])
def test_every_published_tensor_arrives(tmp_path: Path, prefix: str, gate: str) -> None:
    arguments = {**SMALL, "gate": gate}
    content = published(arguments, prefix)
    for name, tensor in content["model"].items():
        if name.endswith("gate_weights_beta"):
            tensor.fill_(1.0)
    path = save(tmp_path / "model_final.pth", content)
    import_checkpoint("dynamic-small", path, tmp_path / "ours", arguments)
    network, config = load_checkpoint(tmp_path / "ours")
    ours = network.state_dict()
    assert {prefix + name for name in ours} == set(content["model"])
    assert all(torch.equal(ours[name.removeprefix(prefix)], t) for name, t in content["model"].items())
    assert config.preprocessing.pad_multiple == 32 and config.preprocessing.channels == "bgr"
    assert not network.training


def test_the_published_networks_have_the_labels_of_cityscapes(tmp_path: Path) -> None:
    small = {"depth": 3, "width": 4}
    content = published({**small, "classes": 19, "gate": "small"})
    config = import_checkpoint("dynamic-a", save(tmp_path / "a.pth", content), tmp_path / "ours", small)
    assert len(config.labels) == 19 and config.labels[0] == "road"


@pytest.mark.parametrize("separable", [True, False])
def test_official_options_of_the_stem_are_arguments(separable: bool, tmp_path: Path, adroit: Adroit) -> None:
    """INIT_CHANNEL 4 beside the 64 channels that the published stem always has; SEPT_STEM on and off."""
    arguments = {**SMALL, "stem_channels": 64, "separable_stem": separable}
    path = save(tmp_path / "model_final.pth", published(arguments))
    words = [word for name, value in arguments.items() for word in ("--argument", f"{name}={value}")]
    done = adroit("import", "dynamic-a", path, "-o", tmp_path / "ours", *words)
    assert done.code == 0, done.err
    network, _ = load_checkpoint(tmp_path / "ours")
    assert network.get_parameter("backbone.stem.stem_1.weight").shape == (64, 3, 3, 3)
    last = "backbone.stem.stem_3.1.weight" if separable else "backbone.stem.stem_3.weight"
    assert network.get_parameter(last).shape[:2] == (4, 64)
    without = adroit("import", "dynamic-a", path, "-o", tmp_path / "other", *words[:-4])
    assert without.code == 6 and "stem_1.weight is [64, 3, 3, 3], expected [4, 3, 3, 3]" in without.err


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_a_backbone_alone_is_refused_as_that(prefix: str, tmp_path: Path) -> None:
    state = {
        prefix + name.removeprefix("module.backbone."): tensor
        for name, tensor in published(SMALL)["model"].items()
        if name.startswith("module.backbone.") and "num_batches" not in name
    }
    with pytest.raises(UnsupportedModel, match="holds the backbone of dynamic-small alone") as caught:
        import_checkpoint("dynamic-small", save(tmp_path / "pretrained.pth", state), tmp_path / "ours", SMALL)
    assert "sem_seg_head.layer_decoder_list.0.weight" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("module.backbone.init_layer.res_down.1.weight"), r"missing +backbone\.init_layer\.res_down"),
        (lambda m: m.update({"module.backbone.extra.weight": torch.zeros(1)}), r"unexpected +backbone\.extra\.weight"),
        (
            lambda m: m.update({"module.sem_seg_head.predictor.weight": torch.zeros(19, 4, 3, 3)}),
            r"predictor\.weight is \[19, 4, 3, 3\], expected \[5, 4, 3, 3\]",
        ),
        (lambda m: m["module.backbone.stem.stem_1.weight"].fill_(float("nan")), "NaN"),
    ],
    ids=["missing", "unexpected", "other classes", "not a number"],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Any, message: str) -> None:
    content = copy.deepcopy(published({**SMALL, "gate": "small"}))
    change(content["model"])
    with pytest.raises(UnsupportedModel, match=message):
        import_checkpoint("dynamic-small", save(tmp_path / "bad.pth", content), tmp_path / "ours", SMALL)
    assert not (tmp_path / "ours").exists()


def test_gated_weights_do_not_fit_an_ungated_network(tmp_path: Path) -> None:
    path = save(tmp_path / "gated.pth", published({**SMALL, "gate": "normal"}))
    with pytest.raises(UnsupportedModel, match="gate_weights_beta"):
        import_checkpoint("dynamic-small", path, tmp_path / "ours", {**SMALL, "gate": "none"})


def test_an_deployment_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    content = published({**SMALL, "gate": "small"})
    content["model"]["module.epoch"] = 3
    with pytest.raises(UsageError, match=r"module\.epoch.*int"):
        import_checkpoint("dynamic-small", save(tmp_path / "odd.pth", content), tmp_path / "ours", SMALL)
