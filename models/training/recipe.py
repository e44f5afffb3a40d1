"""A training recipe: a TOML file, checked whole before anything runs."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from adroit import files
from adroit.errors import UsageError
from adroit.extensions import Additions, load_additions
from adroit.models.data.segmentation import READERS
from adroit.models.networks.architectures import architecture_named, register_factory
from adroit.models.networks.factories import factory_architecture
from adroit.models.training.methods import METHODS
from adroit.models.training.methods.base import method_module
from adroit.models.training.tables import OLD_KEYS, Recipe, RecipeTables, RoutingRecipe
from adroit.validation import convert_values, rename_keys


def recipe_names() -> list[str]:
    """The recipes that come with adroit, in alphabetical order."""
    return sorted(_in_folder(resources.files("adroit.models") / "recipes"))


@functools.cache
def added_recipes() -> Additions[Traversable]:
    """Loads what installed packages add, by entry points of the group `adroit.recipes`.

    Each gives a folder of TOML files: a package that holds them, or a path.
    """
    return load_additions("adroit.recipes", "recipe", _read_added, recipe_names())


def _read_added(value: Any) -> dict[str, Traversable]:
    folder = resources.files(value) if isinstance(value, ModuleType) else Path(value)
    if found := _in_folder(folder):
        return found
    raise FileNotFoundError(f"there are no TOML files in {folder}")


def _in_folder(folder: Traversable) -> dict[str, Traversable]:
    return {f.name.removesuffix(".toml"): f for f in folder.iterdir() if f.name.endswith(".toml")}


def read_recipe(name_or_path: str) -> tuple[Recipe, str]:
    """Reads a recipe file, or one of ours or of an installed package by name; returns it and its text.

    The callable that the recipe's `[network] factory` names is imported.

    Raises:
        UsageError: not there, not TOML, or a field that is missing, unknown, of the wrong type or of
            an impossible value, with its place; or a factory that cannot be imported.
    """
    file = _find(name_or_path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _not_there(name_or_path, error) from error
    text = files.decoded(content, name_or_path, "the recipe")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name_or_path} is not TOML", facts={"reason": error}) from error
    recipe = recipe_from_values(values, name_or_path)
    if recipe.network is not None:
        described = {
            name: getattr(recipe.network, name) for name in ("input_size", "any_size", "task", "preprocessing")
        }
        folder = file.parent if isinstance(file, Path) else Path()
        register_factory(factory_architecture(recipe.architecture, folder, recipe.arguments, **described))
    _check_fit(recipe, name_or_path)
    return recipe, text


def _find(name_or_path: str) -> Traversable:
    """The file of a name, ours first, or of a path; it may not be there."""
    path = Path(name_or_path)
    own = _in_folder(resources.files("adroit.models") / "recipes")
    if name_or_path in own:
        return own[name_or_path]
    is_path = path.is_file() or path.suffix == ".toml" or len(path.parts) != 1
    return path if is_path else added_recipes().values.get(name_or_path, path)


def _not_there(name_or_path: str, error: Exception) -> UsageError:
    added = added_recipes()
    if name_or_path in added.refused:
        return added.unknown("recipe", name_or_path, (), None)
    facts = {"reason": error, **({"left out": "; ".join(added.faults)} if added.faults else {})}
    hint = f"by name there are {', '.join([*recipe_names(), *added.values])}"
    return UsageError(f"cannot read recipe {name_or_path}", facts=facts, hint=hint)


def recipe_from_values(values: Mapping[str, Any], source: str) -> Recipe:
    """Makes a recipe of a parsed TOML file, also of one with the keys of version 0.1.

    Args:
        source: the file, for errors.

    Raises:
        UsageError: see `read_recipe`; whether the tables fit the architecture is not checked.
    """
    values = _with_factory_as_architecture(rename_keys(values, OLD_KEYS), source)
    own = {name: table for name, table in values.items() if name not in METHODS}
    tables = convert_values(own, RecipeTables, source=source, noun="a recipe", also=METHODS)
    methods = {
        name: convert_values(values[name], method_module(name).Settings, source=source, noun="a recipe", place=name)
        for name in METHODS
        if name in values
    }
    return Recipe(**msgspec.structs.asdict(tables), methods=methods)


def _with_factory_as_architecture(values: dict[str, Any], source: str) -> dict[str, Any]:
    """The factory of `[network]` is the architecture's name."""
    network = values.get("network")
    if not isinstance(network, Mapping) or not isinstance(network.get("factory"), str):
        return values
    if "architecture" in values:
        raise UsageError(f"{source}: architecture and network.factory both name the network", hint="leave one out")
    if ":" not in network["factory"]:
        raise UsageError(
            f"{source}: network.factory must be package.module:callable or file.py:callable,"
            f" and is {network['factory']!r}"
        )
    return {**values, "architecture": network["factory"]}


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
