"""A training recipe: a TOML file, checked whole before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from adroit.errors import UsageError
from adroit.models.data.segmentation import READERS
from adroit.models.networks.architectures import architecture_named
from adroit.models.training.fields import built
from adroit.models.training.methods import METHODS
from adroit.models.training.methods.base import method_module
from adroit.models.training.tables import (
    AugmentationRecipe,
    DataRecipe,
    EvaluationRecipe,
    InitialRecipe,
    OptimizerRecipe,
    RoutingRecipe,
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights, with the seed.

    Attributes:
        teacher: a finished checkpoint's folder, for the methods that learn from one.
        methods: the `Settings` of each method whose table the file has, by name (models/training/methods).
    """

    architecture: str
    data: DataRecipe
    optimizer: OptimizerRecipe
    seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    routing: RoutingRecipe = field(default_factory=RoutingRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    initial: InitialRecipe = field(default_factory=InitialRecipe)
    teacher: str = ""
    methods: Mapping[str, Any] = field(default_factory=dict, metadata={"hidden": True})

    def with_overrides(
        self,
        folder: str = "",
        training: str = "",
        validation: str = "",
        seed: int | None = None,
        teacher: str = "",
        initial: str = "",
    ) -> Recipe:
        """With other data of the same kind, other checkpoints, another seed; "" and None leave what the recipe says."""
        given = {"folder": folder, "training": training, "validation": validation}
        return replace(
            self,
            data=replace(self.data, **{name: path for name, path in given.items() if path}),
            initial=replace(self.initial, checkpoint=initial or self.initial.checkpoint),
            teacher=teacher or self.teacher,
            seed=self.seed if seed is None else seed,
        )


def recipe_names() -> list[str]:
    """The recipes that come with adroit."""
    return sorted(p.name.removesuffix(".toml") for p in (resources.files("adroit.models") / "recipes").iterdir())


def read_recipe(name_or_path: str) -> tuple[Recipe, str]:
    """Reads a recipe file, or one of ours by name; returns it and its text.

    Raises:
        UsageError: not there, not TOML, or a field that is missing, unknown, of the wrong type or of
            an impossible value, with its place.
    """
    path = Path(name_or_path)
    if not path.suffix and name_or_path in recipe_names():
        text = (resources.files("adroit.models") / "recipes" / f"{name_or_path}.toml").read_text(encoding="utf-8")
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
    tables = {name: values.pop(name) for name in METHODS if name in values}
    recipe = replace(built(Recipe, values, name_or_path, others=METHODS), methods=_methods(tables, name_or_path))
    _check_fit(recipe, name_or_path)
    return recipe, text


def _methods(tables: Mapping[str, Any], file: str) -> Mapping[str, Any]:
    """Each method's settings, in the order of METHODS."""
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{file}: {name} must be a table")
    return {name: built(method_module(name).Settings, table, file, f"{name}.") for name, table in tables.items()}


def _check_fit(recipe: Recipe, file: str) -> None:
    """Raises UsageError, naming the field, for one that says nothing about this architecture."""
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
                f"{file}: {name} does not fit {recipe.architecture}",
                facts={"task": architecture.task, "gates": gate},
            )
    steps, scaled = optimizer.schedule == "step", bool(augmentation.scale)
    wrong = {
        "optimizer.milestones": (bool(optimizer.milestones) != steps, 'are for the schedule "step", which needs them'),
        "optimizer.accumulate": (optimizer.batch % optimizer.accumulate != 0, "must divide optimizer.batch"),
        "optimizer.nesterov": (optimizer.nesterov and not optimizer.momentum, "needs a momentum"),
        "optimizer.warm_up": (optimizer.warm_up > optimizer.epochs, "is longer than the training"),
        "optimizer.settle_batches": (
            recipe.initial.trained == "head" and optimizer.settle_batches > 0,
            'changes the norms that initial.trained = "head" keeps',
        ),
        "augmentation.scale": (scaled and bool(augmentation.short_sides), "excludes short_sides"),
    }
    for name, (is_wrong, reason) in wrong.items():
        if is_wrong:
            raise UsageError(f"{file}: {name} {reason}")
