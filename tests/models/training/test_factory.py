"""A recipe's `[network] factory`: the user's own callable is trained; a checkpoint alone never has it imported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.networks import architectures
from adroit.models.training.loop import train
from adroit.models.training.options import Accelerator, RunOptions
from adroit.models.training.recipe import read_recipe
from tests.conftest import Adroit
from tests.models.training.conftest import quiet

NETWORK = """
from torch import nn

constant = 3


class Tiny(nn.Module):
    def __init__(self, num_classes, width=4):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, 2, 1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


def broken(num_classes):
    return [][0]


def no_network(num_classes):
    return "network"


def anything(**given):
    return Tiny(given["n_classes"])
"""
RECIPE = """
seed = 0
[network]
factory = "FACTORY"
input_size = [16, 16]
any_size = true
preprocessing = { channels = "gray", mean = [0.5], std = [0.25] }
[arguments]
num_classes = 10
[data]
training = "IMAGES"
validation = "IMAGES"
[optimizer]
epochs = 2
batch = 4
"""


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins as a process in which no recipe has named a callable."""
    monkeypatch.setattr(architectures, "_NAMED_BY_RECIPES", {})


@pytest.fixture
def recipe(tmp_path: Path, images: Path) -> Path:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "tiny.py").write_text(NETWORK)
    (folder / "tiny.toml").write_text(RECIPE.replace("FACTORY", "tiny.py:Tiny").replace("IMAGES", str(images)))
    return folder / "tiny.toml"


def run(recipe: Path, folder: Path, **options: bool) -> None:
    read, text = read_recipe(str(recipe))
    train(read, text, folder, quiet, RunOptions(Accelerator.CPU, **options))


def changed(recipe: Path, old: str, new: str) -> Path:
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    return recipe


def test_the_callable_is_trained_and_its_checkpoint_says_so(recipe: Path, tmp_path: Path, images: Path) -> None:
    run(recipe, tmp_path / "trained")
    config = json.loads((tmp_path / "trained" / "config.json").read_text())
    assert config["architecture"] == "tiny.py:Tiny" and config["arguments"] == {"num_classes": 10}
    assert config["preprocessing"]["channels"] == "gray" and config["preprocessing"]["resize"] == [16, 16]
    network, _ = load_checkpoint(tmp_path / "trained")  # the recipe has named the callable in this process
    assert network(torch.zeros(1, 1, 16, 16)).shape == (1, 10)


def test_a_checkpoint_alone_has_nothing_imported(recipe: Path, tmp_path: Path, adroit: Adroit) -> None:
    run(recipe, tmp_path / "trained")
    (recipe.parent / "tiny.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    result = adroit("export", tmp_path / "trained", "-o", tmp_path / "repository", alone=True)
    weights = tmp_path / "trained" / "model.safetensors"
    assert result.code == 2
    assert f"adroit export tiny.py:Tiny --weights {weights} --argument num_classes=10" in result.err
    assert not (tmp_path / "owned").exists() and not (tmp_path / "repository").exists()


def test_weights_of_another_training_are_the_beginning(recipe: Path, tmp_path: Path) -> None:
    run(recipe, tmp_path / "first")
    changed(recipe, "[network]", f'initial = {{ checkpoint = "{tmp_path / "first"}", trainable = "head" }}\n[network]')
    run(changed(recipe, "num_classes = 10", "num_classes = 12"), tmp_path / "second")
    first, second = (load_checkpoint(tmp_path / name)[0].state_dict() for name in ("first", "second"))
    assert torch.equal(first["conv.weight"], second["conv.weight"])
    assert second["head.weight"].shape == (12, 4)


def test_a_training_is_resumed_by_its_recipe(recipe: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(_: object) -> None:
        raise Stop

    read, text = read_recipe(str(recipe))
    with pytest.raises(Stop):
        train(read, text, tmp_path / "cut", stop, RunOptions(Accelerator.CPU, keep_every=1))
    run(recipe, tmp_path / "cut", resume=True)
    run(recipe, tmp_path / "whole")
    cut, whole = (load_checkpoint(tmp_path / name)[0].state_dict() for name in ("cut", "whole"))
    assert all(torch.equal(cut[name], tensor) for name, tensor in whole.items())


def test_a_package_in_the_current_folder_is_found(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "nets.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    read, _ = read_recipe(str(changed(recipe, "tiny.py:Tiny", "own_package.nets:Tiny")))
    network = architectures.build_network(read.architecture, read.arguments)
    assert type(network).__module__ == "own_package.nets"


def test_a_callable_may_take_anything(recipe: Path) -> None:
    changed(recipe, "num_classes", "n_classes")
    read, _ = read_recipe(str(changed(recipe, "tiny.py:Tiny", "tiny.py:anything")))
    known = architectures.architecture_named(read.architecture)
    assert architectures.class_argument(known, read.arguments) == ("n_classes", 10)
    assert architectures.build_network(read.architecture, read.arguments) is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[network]", 'architecture = "wide-resnet"\n[network]', "architecture and network.factory both name"),
        ("tiny.py:Tiny", "tiny", "network.factory must be package.module:callable or file.py:callable, and is 'tiny'"),
        ('factory = "tiny.py:Tiny"', "factory = 3", "network.factory must be a string, and is 3"),
        ('factory = "tiny.py:Tiny"', "", "network.factory is missing"),
        ("input_size = [16, 16]", "", "network.input_size is missing"),
        ("any_size", "anysize", "did you mean network.any_size?"),
        ("any_size = true", 'task = "pose"', "network.task must be one of classification, segmentation"),
        ("mean = [0.5]", "mean = [0.5, 0.5]", "network.preprocessing.mean must have a value for each of 1"),
        ("tiny.py:Tiny", "tiny.py:Tinny", "did you mean Tiny?"),
        ("tiny.py:Tiny", "tiny.py:constant", "is int, which cannot be called"),
        ("tiny.py:Tiny", "teeny.py:Tiny", "there is no file .*teeny.py"),
        ("tiny.py:Tiny", "no_such_package.nets:Tiny", "there is no module no_such_package.nets"),
    ],
)
def test_what_cannot_be_read_is_named(old: str, new: str, message: str, recipe: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read_recipe(str(changed(recipe, old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tiny.py:Tiny", "tiny.py:broken", r"(?s)tiny.py:broken cannot be called.*IndexError.*tiny.py:\d+: return"),
        ("tiny.py:Tiny", "tiny.py:no_network", "gives str, not a torch.nn.Module"),
        ("num_classes = 10", "num_classes = 10\ndepth = 3", "cannot be called with these arguments.*'depth'"),
        ("num_classes = 10", "width = 10", "no argument for the number of classes"),
        ("num_classes = 10", "num_classes = 5", "the labels are 0 to 9, and the network has classes 0 to 4"),
    ],
)
def test_what_cannot_be_trained_is_named(old: str, new: str, message: str, recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        run(changed(recipe, old, new), tmp_path / "trained")
    assert not (tmp_path / "trained").exists()
