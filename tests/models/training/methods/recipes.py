"""Tiny trainings of the methods: one small network, twelve photographs' crops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from adroit.models.training.loop import Trained, train
from adroit.models.training.methods.base import method_module
from adroit.models.training.tables import DataRecipe, InitialRecipe, OptimizerRecipe, Recipe

NETWORK = {"depth": 10, "widen": 1, "stem_stride": 2}


def tiny(images: Path, methods: Mapping[str, Mapping[str, Any]], classes: int = 10, **changes: Any) -> Recipe:
    """One epoch of three steps, with the methods' settings given by name."""
    plain = Recipe(
        "wide-resnet",
        DataRecipe(training=str(images), validation=str(images)),
        OptimizerRecipe(epochs=1, batch=4, learning_rate=0.01),
        arguments={**NETWORK, "classes": classes},
        methods={name: method_module(name).Settings(**values) for name, values in methods.items()},
    )
    return replace(plain, **changes)


def trained(recipe: Recipe, folder: Path) -> Trained:
    """Runs it; the checkpoint is in `folder`."""
    result = train(recipe, "", folder, lambda _: None)
    assert result is not None
    return result


def probe(images: Path, checkpoint: Path | str) -> Recipe:
    """A new head of ten classes on a frozen network."""
    return tiny(images, {}, initial=InitialRecipe(str(checkpoint), "new", "head"))
