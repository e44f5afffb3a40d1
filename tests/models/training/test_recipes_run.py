"""Every recipe of ours takes a step: on data of its layout, with its network and settings, but small images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

from adroit.models.checkpoints.checkpoint import CheckpointConfig
from adroit.models.data.segmentation import CAMVID_CLASSES, CITYSCAPES_CLASSES, VOC_CLASSES
from adroit.models.networks.architectures import ARCHITECTURES, architecture_named
from adroit.models.training.loop import train
from adroit.models.training.options import Accelerator, RunOptions, StepDone
from adroit.models.training.recipe import read_recipe, recipe_names
from adroit.models.training.tables import DataRecipe, Recipe
from tests.models.training.conftest import quiet

SIDE = 128  # the smallest that a small gate takes
RANDOM = np.random.default_rng(0)


def picture(path: Path, height: int = SIDE, width: int = SIDE + 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(0, 256, (height, width, 3), np.uint8)).save(path)


def label_map(path: Path, classes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(0, classes, (SIDE, SIDE + 32), np.uint8)).save(path)


def camvid(folder: Path) -> None:
    for split, count in (("train", 2), ("val", 1)):
        for i in range(count):
            picture(folder / split / "images" / f"{i}.png")
            label_map(folder / split / "labels" / f"{i}.png", len(CAMVID_CLASSES))


def cityscapes(folder: Path) -> None:
    for split, count in (("train", 2), ("val", 1)):
        for i in range(count):
            picture(folder / "leftImg8bit" / split / "ulm" / f"ulm_{i}_leftImg8bit.png")
            label_map(folder / "gtFine" / split / "ulm" / f"ulm_{i}_gtFine_labelTrainIds.png", len(CITYSCAPES_CLASSES))


def voc(folder: Path) -> None:
    names = {"train": ["a", "b"], "val": ["c"]}
    for split, own in names.items():
        listing = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("\n".join(own))
        for name in own:
            picture(folder / "JPEGImages" / f"{name}.jpg")
            label_map(folder / "SegmentationClass" / f"{name}.png", len(VOC_CLASSES))


def imagenet(folder: Path) -> None:
    for split in ("train", "val"):
        for name in ("n01440764", "n01443537"):
            picture(folder / split / name / f"{name}_1.JPEG", 80, 96)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "camvid": camvid,
    "cityscapes": cityscapes,
    "voc": voc,
    "imagenet": imagenet,
}


def small(recipe: Recipe, folder: Path) -> Recipe:
    """Two images a batch, one step; everything else as it is, but for the number of ImageNet's classes."""
    batches, warm_up = min(1, recipe.optimizer.precise_batch_norm), min(1.0, recipe.optimizer.warm_up)
    optimizer = replace(recipe.optimizer, epochs=1, batch=2, precise_batch_norm=batches, warm_up=warm_up)
    augmentation = recipe.augmentation
    arguments, data = dict(recipe.arguments), replace(recipe.data, folder=str(folder))
    if recipe.data.name in LAYOUTS:
        LAYOUTS[recipe.data.name](folder)
    elif not recipe.data.name:
        classes = {**architecture_named(recipe.architecture).defaults, **arguments}["classes"]
        images = RANDOM.integers(0, 256, (2, 32, 32, 3), np.uint8)
        np.savez(folder / "images.npz", images=images, labels=np.array([0, classes - 1]))
        data = DataRecipe(training=str(folder / "images.npz"), validation=str(folder / "images.npz"))
    if recipe.data.name == "imagenet":
        arguments["classes"] = 2
    if augmentation.crop:
        augmentation = replace(augmentation, crop=(SIDE, SIDE))
    if augmentation.short_sides:
        augmentation = replace(augmentation, short_sides=(SIDE, 1.5 * SIDE))
    evaluation = replace(recipe.evaluation, every=1, shift_consistency=False)
    return replace(
        recipe,
        data=data,
        optimizer=optimizer,
        arguments=arguments,
        augmentation=augmentation,
        evaluation=evaluation,
    )


@pytest.mark.parametrize("name", recipe_names())
def test_our_recipes_take_a_step(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, text = read_recipe(name)
    if recipe.methods:
        pytest.skip("run with its method and its teacher in tests/models/training")
    if recipe.data.name == "digits":
        pytest.skip("trained whole in test_train.py")
    known = architecture_named(recipe.architecture)
    if recipe.data.name == "imagenet":  # at 64 pixels
        smaller = replace(known.preprocessing, resize=72, crop=(64, 64))
        changed = dataclasses.replace(known, preprocessing=smaller)
        monkeypatch.setitem(ARCHITECTURES, known.name, changed)  # type: ignore[misc]
    losses: list[float] = []

    def on_step(step: StepDone) -> None:
        losses.append(step.loss)

    options = RunOptions(Accelerator.CPU, on_step=on_step)
    trained = train(small(recipe, tmp_path), text, tmp_path / "checkpoint", quiet, options)
    assert trained is not None and 0.0 <= trained.accuracy <= 1.0
    assert len(losses) == 1 and np.isfinite(losses[0])
    assert CheckpointConfig.read(tmp_path / "checkpoint").architecture == recipe.architecture
    assert torch.get_num_threads() == 1
