"""Recipes: ours are valid, and a wrong field is named."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace

from adroit.errors import UsageError
from adroit.models.data.segmentation import READERS
from adroit.models.training.recipe import read_recipe, recipe_names
from adroit.models.training.tables import DataName
from tests.models.old_files import OLD_FILES

SEGMENTATION = """
architecture = "dynamic-small"
[data]
name = "camvid"
[optimizer]
epochs = 1
"""
CLASSIFICATION = SEGMENTATION.replace("dynamic-small", "adder-lenet5-bn").replace("camvid", "digits")


@pytest.mark.parametrize("name", recipe_names())
def test_our_recipes_are_valid(name: str) -> None:
    read_recipe(name)


@pytest.mark.parametrize("name", ["camvid-dynamic-small", "cifar10-logits-small", "camvid-dynamic-self-regulation"])
def test_recipes_of_version_0_1_are_read(name: str) -> None:
    """Their keys settle_batches, trained and normalisation have other names today."""
    old, text = read_recipe(str(OLD_FILES / f"{name}.toml"))
    today, _ = read_recipe(name)
    if "normalisation" in text:
        settings = replace(today.methods["self_regulation"], normalization="sum")
        today = replace(today, methods={"self_regulation": settings})
    assert old == today


def test_data_sets_have_the_names_that_recipes_may_give() -> None:
    assert {"", "digits", "imagenet", *READERS} == set(get_args(DataName))


@pytest.mark.parametrize(
    ("base", "old", "new", "message"),
    [
        (SEGMENTATION, "epochs = 1", "", "optimizer.epochs is missing"),
        (SEGMENTATION, "epochs = 1", "epochs = 0", "optimizer.epochs must be at least 1, and is 0"),
        (SEGMENTATION, "epochs = 1", "epochs = 1.5", "optimizer.epochs must be a whole number, and is 1.5"),
        (SEGMENTATION, "epochs = 1", "epochs = true", "optimizer.epochs must be a whole number, and is True"),
        (SEGMENTATION, "epochs = 1", "epochs = 1\nbatch = 0", "optimizer.batch must be at least 1, and is 0"),
        (SEGMENTATION, "epochs = 1", "epochs = 1\nmomentum = -1", "optimizer.momentum must not be negative, and is -1"),
        (SEGMENTATION, "epochs = 1", "epochs = 1\nmomentum = nan", "optimizer.momentum must not be negative"),
        (
            SEGMENTATION,
            "epochs = 1",
            'epochs = 1\nschedule = "stairs"',
            "optimizer.schedule must be one of cosine, poly",
        ),
        (SEGMENTATION, "epochs = 1", "epochs = 1\nmethods = 1", "optimizer.methods is not a field of a recipe"),
        (SEGMENTATION, "[data]", "methods = 1\n[data]", "methods is not a field of a recipe"),
        (SEGMENTATION, "[data]", "igam = 1\n[data]", "igam must be a table, and is 1"),
        (SEGMENTATION, "epochs = 1", "epochs = 1\n[igam]\nbeta = -1", "igam.beta must not be negative, and is -1"),
        (
            SEGMENTATION,
            "epochs = 1",
            "epochs = 1\n[robustness]\nsteps = [2, 1.5]",
            r"steps\[1\] must be a whole number",
        ),
        (SEGMENTATION, "epochs = 1", "epochs = 1\n[igam]\nbetta = 1", "did you mean igam.beta?"),
        (SEGMENTATION, "epochs = 1", 'epochs = 1\n[bownet]\nhead = "cosin"', "did you mean cosine?"),
        (SEGMENTATION, "epochs = 1", "epochs = 1\nlr = 1", "optimizer.lr is not a field of a recipe"),
        (SEGMENTATION, '[data]\nname = "camvid"', "data = 1", "data must be a table"),
        (SEGMENTATION, "camvid", "kitti", "data.name must be one of"),
        (SEGMENTATION, "camvid", "digits", "data.name does not fit dynamic-small"),
        (SEGMENTATION, "epochs = 1", "epochs = 1\n[augmentation]\ncrop = [64]", r"augmentation.crop must be \[height,"),
        (SEGMENTATION, "epochs = 1", "epochs = 1\n[augmentation]\nshift = 2", "augmentation.shift does not fit"),
        (SEGMENTATION, "epochs = 1", "epochs = 1\n[evaluation]\nevery = 0", "evaluation.every must be at least 1"),
        (
            SEGMENTATION,
            "epochs = 1",
            'epochs = 1\n[arguments]\ngate = "none"\n[routing]\nbudget_weight = 1',
            "routing does not fit",
        ),
        (CLASSIFICATION, "epochs = 1", "epochs = 1\n[augmentation]\ncrop = [8, 8]", "augmentation.crop does not fit"),
        (CLASSIFICATION, "epochs = 1", "epochs = 1\n[routing]\nbudget_weight = 1", "routing does not fit"),
        (CLASSIFICATION, "digits", "voc", "data.name does not fit adder-lenet5-bn"),
    ],
)
def test_a_wrong_field_is_named(base: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(base)
    read_recipe(str(path))
    path.write_text(base.replace(old, new))
    with pytest.raises(UsageError, match=message):
        read_recipe(str(path))
