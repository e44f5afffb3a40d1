"""A training recipe: a TOML file, checked whole before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from adroit.errors import UsageError
from adroit.models.data.segmentation import READERS
from adroit.models.networks.architectures import architecture_named
from adroit.models.training.methods import METHODS
from adroit.models.training.methods.base import method_module
from adroit.models.training.tables import OLD_KEYS, Recipe, RecipeTables, RoutingRecipe
from adroit.validation import convert_values, rename_keys


def recipe_names() -> list[str]:
    """The recipes that come with adroit, in alphabetical order."""
    return sorted(p.name.removesuffix(".toml") for p in (resources.files("adroit.models") / "recipes").iterdir())


def read_recipe(name_or_path: str) -> tuple[Recipe, str]:
    """Reads a recipe file, or one of ours by name; returns it and its text.

    Raises:
        UsageError: not there, not TOML, or a field that is missing, unknown, of the wrong type or of
            an impossible value, with its place.
    """
    text = _read_text(name_or_path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name_or_path} is not TOML", facts={"reason": error}) from error
    recipe = recipe_from_values(values, name_or_path)
    _check_fit(recipe, name_or_path)
    return recipe, text


def _read_text(name_or_path: str) -> str:
    path = Path(name_or_path)
    names = recipe_names()
    if not path.suffix and name_or_path in names:
        return (resources.files("adroit.models") / "recipes" / f"{name_or_path}.toml").read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read recipe {name_or_path}", facts={"reason": error}, hint=f"ours: {', '.join(names)}"
        ) from error


def recipe_from_values(values: Mapping[str, Any], source: str) -> Recipe:
    """Makes a recipe of a parsed TOML file, also of one with the keys of version 0.1.

    Args:
        source: the file, for errors.

    Raises:
        UsageError: see `read_recipe`; whether the tables fit the architecture is not checked.
    """
    values = rename_keys(values, OLD_KEYS)
    own = {name: table for name, table in values.items() if name not in METHODS}
    tables = convert_values(own, RecipeTables, source=source, noun="a recipe", also=METHODS)
    methods = {
        name: convert_values(values[name], method_module(name).Settings, source=source, noun="a recipe", place=name)
        for name in METHODS
        if name in values
    }
    return Recipe(**msgspec.structs.asdict(tables), methods=methods)


def _check_fit(recipe: Recipe, source: str) -> None:
    """Raises UsageError, naming the field, for one that has no meaning with this architecture or beside another."""
    architecture = architecture_named(recipe.architecture)
    gate = {**architecture.defaults, **recipe.arguments}.get("gate", "none")
    routed = gate != "none"
    classifies = architecture.task == "classification"
    augmentation, optimizer = recipe.augmentation, recipe.optimizer
    misplaced = {
        "routing": recipe.routing != RoutingRecipe() and not routed,
        "augmentation.shift": bool(augmentation.shift) and not classifies,
        "augmentation.crop_area": bool(augmentation.crop_area) and not classifies,
        "augmentation.crop": augmentation.crop is not None and classifies,
        "augmentation.short_sides": bool(augmentation.short_sides) and classifies,
        "augmentation.scale": bool(augmentation.scale) and classifies,
        "evaluation.shift_consistency": recipe.evaluation.shift_consistency and not classifies,
        "optimizer.backbone_rate": optimizer.backbone_rate != 1.0 and (classifies or "gate" in architecture.defaults),
        "data.name": recipe.data.name in READERS if classifies else recipe.data.name not in READERS,
    }
    for name, is_misplaced in misplaced.items():
        if is_misplaced:
            raise UsageError(
                f"{source}: {name} does not fit {recipe.architecture}",
                facts={"task": architecture.task, "gates": gate},
            )
    _check_optimizer(recipe, source)


def _check_optimizer(recipe: Recipe, source: str) -> None:
    """Raises UsageError, naming the field, for one that contradicts another."""
    optimizer = recipe.optimizer
    steps = optimizer.schedule == "step"
    wrong = {
        "milestones": (bool(optimizer.milestones) != steps, 'are for the schedule "step", which needs them'),
        "accumulate": (optimizer.batch % optimizer.accumulate != 0, "must divide optimizer.batch"),
        "nesterov": (optimizer.nesterov and not optimizer.momentum, "needs a momentum"),
        "warm_up": (optimizer.warm_up > optimizer.epochs, "is longer than the training"),
        "precise_batch_norm": (
            recipe.initial.trainable == "head" and optimizer.precise_batch_norm > 0,
            'changes the norms that initial.trainable = "head" leaves as they are',
        ),
    }
    for name, (is_wrong, reason) in wrong.items():
        if is_wrong:
            raise UsageError(f"{source}: optimizer.{name} {reason}")
