"""Every recipe of these methods takes a step: its tables as they are, but for a small network and few classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.networks.architectures import ARCHITECTURES, architecture_named
from adroit.models.training.recipe import read_recipe, recipe_names
from adroit.models.training.tables import DataRecipe
from tests.models.training.methods.recipes import NETWORK, trained

SMALLER: dict[str, dict[str, Any]] = {
    "rotnet": {},
    "clusterfit": {"clusters": 4},
    "bownet": {"words": 4, "layer": "layer3", "locations": 1.0},
    "adversarial_training": {"steps": 1},
    "igam": {"start": 0.0},
    "robustness": {"steps": (1,)},
}
OURS = [name for name in recipe_names() if set(read_recipe(name)[0].methods) & set(SMALLER)]


@pytest.mark.parametrize("name", OURS)
def test_our_recipes_take_a_step(
    name: str, images: Path, rotnet: Path, robust: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, _ = read_recipe(name)
    known = architecture_named(recipe.architecture)
    if known.preprocessing.crop:  # ImageNet's
        smaller = replace(known.preprocessing, resize=32, crop=(32, 32))
        monkeypatch.setitem(ARCHITECTURES, known.name, dataclasses.replace(known, preprocessing=smaller))  # type: ignore[misc]
    own_classes = bool({"rotnet", "clusterfit", "bownet"} & set(recipe.methods))
    arguments = {**recipe.arguments, "classes": 4 if own_classes else 10}
    if recipe.architecture == "wide-resnet":
        arguments |= NETWORK
    else:
        assert recipe.architecture == "aa-resnet50"
        recipe, arguments = replace(recipe, architecture="aa-resnet18"), {**arguments, "pool_only": True}
        monkeypatch.setitem(  # type: ignore[misc]
            ARCHITECTURES,
            "aa-resnet18",
            dataclasses.replace(ARCHITECTURES["aa-resnet18"], preprocessing=ARCHITECTURES["aa-resnet50"].preprocessing),
        )
    needed = {"igam": robust, "clusterfit": rotnet, "bownet": rotnet}
    teacher = next((path for method, path in needed.items() if method in recipe.methods), "")
    if recipe.initial.trainable == "head":
        recipe = replace(recipe, initial=replace(recipe.initial, checkpoint=""))
    recipe = replace(
        recipe,
        arguments=arguments,
        data=DataRecipe(training=str(images), validation=str(images)),
        optimizer=replace(recipe.optimizer, epochs=1, batch=12),
        methods={method: replace(table, **SMALLER[method]) for method, table in recipe.methods.items()},
        teacher=str(teacher),
    )
    trained(recipe, tmp_path / "checkpoint")
    assert set(load_checkpoint(tmp_path / "checkpoint")[1].source) >= set(recipe.methods)
