"""Street scenes of a few pixels, recipes of a few steps, and pretrained networks that methods learn from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adroit.models.training.recipe import read_recipe
from adroit.models.training.tables import Recipe
from tests.models.training.methods.recipes import tiny, trained

RECIPE = """
architecture = "dynamic-small"
seed = 3
[arguments]
depth = 3
width = 4
gate = "normal"
[data]
name = "camvid"
folder = "{folder}"
[optimizer]
epochs = 2
batch = 2
learning_rate = 0.02
clip_gradient = 5.0
precise_batch_norm = 2
[augmentation]
crop = [64, 96]
flip = true
"""
VOID = 11
Recipes = Callable[[str], tuple[Recipe, str]]


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and two validation images in CamVid's layout: dark is sky, bright is road, a row is void."""
    top, random = tmp_path_factory.mktemp("streets"), np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for kind in ("images", "labels"):
            (top / split / kind).mkdir(parents=True)
        for i in range(count):
            labels = np.zeros((72, 104), np.uint8)
            left = int(random.integers(8, 50))
            labels[16:56, left : left + 40] = 3
            pixels = np.where(labels == 3, 220, 30)[..., None] + random.integers(-20, 20, (72, 104, 3))
            labels[0] = VOID
            Image.fromarray(pixels.astype(np.uint8)).save(top / split / "images" / f"{i}.png")
            Image.fromarray(labels).save(top / split / "labels" / f"{i}.png")
    return top


@pytest.fixture
def recipes(streets: Path, tmp_path: Path) -> Recipes:
    """Reads the short recipe with tables added to it."""

    def read(tables: str) -> tuple[Recipe, str]:
        path = tmp_path / "recipe.toml"
        path.write_text(RECIPE.format(folder=streets) + tables)
        return read_recipe(str(path))

    return read


@pytest.fixture(scope="session")
def rotnet(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny RotNet; do not change it."""
    folder = tmp_path_factory.mktemp("rotnet") / "checkpoint"
    trained(tiny(images, {"rotnet": {}}, classes=4), folder)
    return folder


@pytest.fixture(scope="session")
def robust(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny adversarial training; do not change it."""
    folder = tmp_path_factory.mktemp("robust") / "checkpoint"
    trained(tiny(images, {"adversarial_training": {"steps": 1}}), folder)
    return folder
