"""Data and recipes so small that a training takes a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adroit.models.training.tables import AugmentationRecipe, DataRecipe, OptimizerRecipe, Recipe, RoutingRecipe

VOID = 11
# Neither side divides by 32, so that deployment pads.
HEIGHT, WIDTH = 36, 72


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Six training and two validation images: dark pixels are sky, bright ones road, the first row is void."""
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for kind in ("images", "labels"):
            (tmp_path / "set" / split / kind).mkdir(parents=True)
        for i in range(count):
            bright = np.zeros((HEIGHT, WIDTH), bool)
            left = int(random.integers(8, 40))
            bright[8:28, left : left + 24] = True
            pixels = np.where(bright, 220, 30)[..., None] + random.integers(-20, 20, (HEIGHT, WIDTH, 3))
            labels = np.where(bright, 3, 0).astype(np.uint8)
            labels[0] = VOID
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "set" / split / "images" / f"{i}.png")
            Image.fromarray(labels).save(tmp_path / "set" / split / "labels" / f"{i}.png")
    return tmp_path / "set"


def quiet(_: object) -> None:
    """Reports nothing."""


def routed_recipe(folder: Path, epochs: int = 1, seed: int = 0, **optimizer: float | str) -> Recipe:
    """A routed network of three layers on `camvid`."""
    settings = {"batch": 3, "learning_rate": 0.05, "clip_gradient": 5.0, "precise_batch_norm": 3, **optimizer}
    return Recipe(
        "dynamic-small",
        DataRecipe("camvid", str(folder)),
        OptimizerRecipe(epochs, schedule="poly", **settings),  # type: ignore[arg-type]
        seed,
        {"depth": 3, "width": 4, "gate": "normal", "drop_path": 0.1},
        AugmentationRecipe(crop=(32, 64), flip=True),
        RoutingRecipe(0.2, 0.5, 2.0),
    )


def image_recipe(images: Path, epochs: int = 2, **optimizer: float | str) -> Recipe:
    """A narrow ResNet-20 on twelve photographs."""
    settings = {"batch": 4, "learning_rate": 0.05, **optimizer}
    return Recipe(
        "aa-cifar-resnet20",
        DataRecipe(training=str(images), validation=str(images)),
        OptimizerRecipe(epochs, **settings),  # type: ignore[arg-type]
        arguments={"width": 4, "filter": "none"},
        augmentation=AugmentationRecipe(shift=2, flip=True, brightness=0.2, hue=0.1),
    )
