"""A training recipe: a TOML file, checked whole before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

from models.architectures import architecture_named
from models.errors import UsageError


@dataclass(frozen=True)
class DataRecipe:
    """Where images come from: `name = "digits"` (in scikit-learn), or DATA paths for training and validation."""

    name: str = ""
    training: str = ""
    validation: str = ""


@dataclass(frozen=True)
class OptimizerRecipe:
    """Stochastic gradient descent with a cosine schedule from `learning_rate` to 0 over all epochs.

    Attributes:
        batch: images a step. Adder gradients are normalised per step, so gradients of several
            smaller batches cannot be accumulated to the same effect.
    """

    epochs: int
    batch: int = 256
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4


@dataclass(frozen=True)
class AugmentationRecipe:
    """Random shift by up to `shift` pixels (zeros move in) and horizontal flip of half the images."""

    shift: int = 0
    flip: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights, with the seed."""

    architecture: str
    data: DataRecipe
    optimizer: OptimizerRecipe
    seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    augmentation: AugmentationRecipe = AugmentationRecipe()


def recipe_names() -> list[str]:
    """The recipes that come with adroit."""
    return sorted(p.name.removesuffix(".toml") for p in (resources.files("models") / "recipes").iterdir())


def read_recipe(name_or_path: str) -> tuple[Recipe, str]:
    """Reads a recipe file, or one of ours by name; returns it and its text.

    Raises:
        UsageError: not there, not TOML, or a field that is missing, unknown or of the wrong type,
            with its place.
    """
    path = Path(name_or_path)
    if not path.suffix and name_or_path in recipe_names():
        text = (resources.files("models") / "recipes" / f"{name_or_path}.toml").read_text(encoding="utf-8")
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"cannot read recipe {name_or_path}", facts={"reason": error}, hint=f"ours: {', '.join(recipe_names())}"
            ) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name_or_path} is not TOML", facts={"reason": error}) from error
    recipe: Recipe = _build(Recipe, values, name_or_path, "")
    architecture_named(recipe.architecture)
    return recipe, text


def _build(kind: Any, values: Mapping[str, Any], file: str, table: str) -> Any:
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}
    for name in values:
        if name not in known:
            raise UsageError(f"{file}: {table}{name} is not a field of a recipe", facts={"fields": ", ".join(known)})
    made = {}
    for name, definition in known.items():
        where = f"{table}{name}"
        if name not in values:
            if definition.default is MISSING and definition.default_factory is MISSING:
                raise UsageError(f"{file}: {where} is missing")
            continue
        wanted, value = hints[name], values[name]
        if hasattr(wanted, "__dataclass_fields__"):
            if not isinstance(value, dict):
                raise UsageError(f"{file}: {where} must be a table")
            made[name] = _build(wanted, value, file, f"{where}.")
        else:
            made[name] = _checked(wanted, value, file, where)
    return kind(**made)


def _checked(wanted: Any, value: Any, file: str, where: str) -> Any:
    plain = dict if wanted not in (int, float, str, bool) else wanted
    if plain is float and type(value) is int:
        value = float(value)
    if type(value) is not plain:
        raise UsageError(f"{file}: {where} must be {plain.__name__}, and is {type(value).__name__} {value!r}")
    if isinstance(value, (int, float)) and value < 0:
        raise UsageError(f"{file}: {where} must not be negative, and is {value}")
    return value
