"""Our recipes with these methods take a step, as those without do in tests/training/test_recipes_run.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import load_checkpoint, save_checkpoint
from models.data.segmentation import CAMVID_CLASSES
from models.training.loop import train
from models.training.options import Accelerator, RunOptions, StepDone
from models.training.recipe import read_recipe, recipe_names
from tests.conftest import make_checkpoint
from tests.training.conftest import quiet
from tests.training.test_recipes_run import small

METHODS = ("perceptual_loss", "self_regulation")
NAMES = [name for name in recipe_names() if any(method in read_recipe(name)[0].methods for method in METHODS)]


def teacher_in(folder: Path) -> Path:
    """A checkpoint with random weights and CamVid's classes."""
    network, config = load_checkpoint(make_checkpoint(folder, "dynamic-small", (128, 128), depth=3, width=4))
    save_checkpoint(folder, network, replace(config, labels=CAMVID_CLASSES))
    return folder


RUNS = [*((name, "float32") for name in NAMES), *((name, "bfloat16") for name in NAMES if name.startswith("camvid"))]


@pytest.mark.parametrize(("name", "precision"), RUNS)
def test_our_recipes_with_these_methods_take_a_step(name: str, precision: str, tmp_path: Path) -> None:
    recipe, text = read_recipe(name)
    (tmp_path / "data").mkdir()
    recipe = small(recipe, tmp_path / "data")
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, precision=precision))
    if "perceptual_loss" in recipe.methods:
        recipe = replace(recipe, teacher=str(teacher_in(tmp_path / "teacher")))
    losses: list[float] = []

    def on_step(step: StepDone) -> None:
        losses.append(step.loss)

    trained = train(recipe, text, tmp_path / "checkpoint", quiet, RunOptions(Accelerator.CPU, on_step=on_step))
    assert trained is not None and 0.0 <= trained.accuracy <= 1.0
    assert len(losses) == 1 and np.isfinite(losses[0])
