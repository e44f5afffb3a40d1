"""Checkpoints and recipes from elsewhere. See scene.py."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from syrupy.assertion import SnapshotAssertion

from adroit.models.checkpoints.importers import LAYOUTS
from adroit.models.networks.architectures import build_network
from tests.attacks.scene import Attack, Payload, Scene, meet
from tests.conftest import Adroit


def _published(scene: Scene) -> Path:
    path = scene.folder / "published.pth"
    torch.save(_published_tensors(), path)
    return path


def _published_tensors() -> dict[str, torch.Tensor]:
    """ResNet-20 as its authors lay it out."""
    network = build_network("adder-resnet20")
    key = LAYOUTS["adder-resnet20"].key
    return {f"module.{key(network, name)}": tensor for name, tensor in network.state_dict().items()}


def truncated_checkpoint(scene: Scene) -> list[object]:
    """A download that broke off. PyTorch's reader says 'failed finding central directory'."""
    path = _published(scene)
    path.write_bytes(path.read_bytes()[:5000])
    return ["import", "adder-resnet20", path, "-o", scene.output]


def pickle_with_code(scene: Scene) -> list[object]:
    """A checkpoint is a pickle, and a pickle is a program. This one would make the file 'owned'."""
    path = scene.folder / "evil.pth"
    torch.save({"conv1.weight": Payload(scene.folder / "owned")}, path)
    return ["import", "adder-resnet20", path, "-o", scene.output]


def bare_pickle_with_code(scene: Scene) -> list[object]:
    """The same without PyTorch's archive round it: the legacy reader must refuse it too."""
    path = scene.folder / "evil.pth"
    path.write_bytes(pickle.dumps(Payload(scene.folder / "owned")))
    return ["import", "adder-resnet20", path, "-o", scene.output]


def whole_module_pickle(scene: Scene) -> list[object]:
    """What `torch.save(network)` writes holds classes, not tensors. Loading it would import and run them."""
    path = scene.folder / "module.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    return ["import", "adder-resnet20", path, "-o", scene.output]


def dictionary_of_no_tensors(scene: Scene) -> list[object]:
    """A training state whose weights are elsewhere."""
    path = scene.folder / "state.pth"
    torch.save({"epoch": 3, "best": 0.9}, path)
    return ["import", "adder-resnet20", path, "-o", scene.output]


def wrong_architecture(scene: Scene) -> list[object]:
    """ResNet-20's weights given as ResNet-32's: every missing tensor is named."""
    return ["import", "adder-resnet32", _published(scene), "-o", scene.output]


def unknown_architecture(scene: Scene) -> list[object]:
    """A name that is none of ours."""
    return ["import", "adder-resnet-20", _published(scene), "-o", scene.output]


def nan_weights(scene: Scene) -> list[object]:
    """A run that diverged leaves NaN. It loads, and every logit of the deployment would be NaN."""
    state = _published_tensors()
    state["module.bn1.running_var"][3] = float("nan")
    path = scene.folder / "nan.pth"
    torch.save(state, path)
    return ["import", "adder-resnet20", path, "-o", scene.output]


def nan_weights_in_our_checkpoint(scene: Scene) -> list[object]:
    """The same met at export, in a checkpoint of ours that something else wrote."""
    copy = scene.folder / "checkpoint"
    shutil.copytree(scene.checkpoint, copy)
    tensors = load_file(copy / "model.safetensors")
    tensors["norm.weight"][0] = float("inf")
    save_file(tensors, copy / "model.safetensors")
    return ["export", copy, "-o", scene.output]


def safetensors_cut_short(scene: Scene) -> list[object]:
    """A checkpoint of ours whose copy broke off."""
    copy = scene.folder / "checkpoint"
    shutil.copytree(scene.checkpoint, copy)
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return ["export", copy, "-o", scene.output]


def checkpoint_that_names_code(scene: Scene) -> list[object]:
    """A recipe may name a callable, and its checkpoint says which. A folder from elsewhere must not have one run."""
    copy = scene.folder / "checkpoint"
    shutil.copytree(scene.checkpoint, copy)
    (copy / "evil.py").write_text(f"open({str(scene.folder / 'owned')!r}, 'w')")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "architecture": f"{copy / 'evil.py'}:make"}))
    return ["export", copy, "-o", scene.output]


RECIPE = 'architecture = "adder-lenet5-bn"\n[data]\nname = "digits"\n[optimizer]\n'


def recipe_with_a_wrong_field(scene: Scene) -> list[object]:
    """A misspelt setting must not be passed over: the network would be trained with another one."""
    path = scene.folder / "recipe.toml"
    path.write_text(
        'architecture = "adder-lenet5-bn"\n[data]\nname = "digits"\n[optimizer]\nepochs = 1\nlearning_rat = 0.1\n'
    )
    return ["train", path, "-o", scene.output]


def recipe_with_a_wrong_type(scene: Scene) -> list[object]:
    """A number in quotes."""
    path = scene.folder / "recipe.toml"
    path.write_text(RECIPE + 'epochs = "ten"\n')
    return ["train", path, "-o", scene.output]


ATTACKS = [
    Attack(truncated_checkpoint, 2),
    Attack(pickle_with_code, 2),
    Attack(bare_pickle_with_code, 2),
    Attack(whole_module_pickle, 2),
    Attack(dictionary_of_no_tensors, 2),
    Attack(wrong_architecture, 6),
    Attack(unknown_architecture, 2),
    Attack(nan_weights, 6),
    Attack(nan_weights_in_our_checkpoint, 6),
    Attack(safetensors_cut_short, 2),
    Attack(checkpoint_that_names_code, 2),
    Attack(recipe_with_a_wrong_field, 2),
    Attack(recipe_with_a_wrong_type, 2),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_attack(attack: Attack, scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    meet(attack, scene, adroit, snapshot)


def test_a_published_checkpoint_is_taken(scene: Scene, adroit: Adroit) -> None:
    result = adroit("import", "adder-resnet20", _published(scene), "-o", scene.output, alone=True)
    assert result.code == 0, result.err
    assert {p.name for p in scene.output.iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("attack", [pickle_with_code, whole_module_pickle])
def test_a_refused_pickle_is_told_what_it_would_have_called(
    attack: Callable[[Scene], list[object]], scene: Scene, adroit: Adroit
) -> None:
    assert re.search(r"reason .*(posix\.system|torch\.nn\.modules\.linear\.Linear)", adroit(*attack(scene)).err)
