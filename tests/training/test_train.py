"""`adroit train` reaches its accuracy, and the same seed gives the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models.checkpoint import load_checkpoint
from models.data.digits import read_digits
from models.files import sha256
from models.training.loop import augmented
from models.training.recipe import AugmentationRecipe, read_recipe, recipe_names
from tests.conftest import Adroit

SHORT = """
architecture = "adder-lenet5-bn"
seed = 3
[data]
name = "digits"
[optimizer]
epochs = 1
batch = 256
[augmentation]
shift = 1
flip = true
"""


@pytest.mark.timeout(1200)
def test_adder_lenet5_reaches_97_percent_on_the_held_out_digits(adroit: Adroit, tmp_path: Path) -> None:
    result = adroit("train", "digits-adder-lenet5", "-o", tmp_path / "checkpoint")
    assert result.code == 0, result.err
    network, config = load_checkpoint(tmp_path / "checkpoint")
    _, held_out = read_digits()
    assert held_out.labels is not None
    _, x = next(held_out.batches(config.preprocessing, len(held_out)))
    with torch.no_grad():
        right = network(torch.from_numpy(x)).argmax(1).numpy() == held_out.labels
    assert right.mean() >= 0.97
    assert config.source["accuracy"] == pytest.approx(right.mean())
    assert list(config.labels) == [str(i) for i in range(10)]


def test_the_same_seed_gives_the_same_weights(adroit: Adroit, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(SHORT)
    for name in ("a", "b"):
        assert adroit("train", tmp_path / "recipe.toml", "-o", tmp_path / name).code == 0
    assert sha256(tmp_path / "a" / "model.safetensors") == sha256(tmp_path / "b" / "model.safetensors")
    assert json.loads((tmp_path / "a" / "config.json").read_text())["source"]["seed"] == 3


@pytest.mark.parametrize("name", recipe_names())
def test_our_recipes_are_valid(name: str) -> None:
    read_recipe(name)


def test_augmentation_shifts_and_flips_whole_images() -> None:
    x = torch.arange(2 * 3 * 5 * 5, dtype=torch.float32).reshape(2, 3, 5, 5) + 1
    moved = augmented(x, AugmentationRecipe(shift=2), torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    for image, original in zip(moved, x, strict=True):
        kept = set(image.unique().tolist()) - {0.0}
        assert kept <= set(original.unique().tolist())
    flipped = augmented(x, AugmentationRecipe(flip=True), torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(flipped, x, strict=True))
