"""A training recipe: a TOML file, checked whole before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from models.architectures import architecture_named
from models.data.segmentation import READERS
from models.errors import UsageError
from models.losses.routing_budget import START, WARM_UP
from models.training.fields import built

SCHEDULES = ("cosine", "poly")


@dataclass(frozen=True)
class DataRecipe:
    """Where images come from; `adroit train` can be given the three paths instead.

    Attributes:
        name: "digits" (in scikit-learn); "camvid", "cityscapes" or "voc", whose top folder is
            `folder`; "" for DATA paths.
        folder: of a segmentation set, with its splits train and val.
        training, validation: DATA paths (models/data/images.py) for classification.
    """

    name: str = field(default="", metadata={"choices": ("", "digits", *READERS)})
    folder: str = ""
    training: str = ""
    validation: str = ""


@dataclass(frozen=True)
class OptimizerRecipe:
    """A first-order method, its rate falling from `learning_rate` to 0 over all epochs.

    Attributes:
        batch: images a step. Adder gradients are normalised per step, so gradients of several
            smaller batches cannot be accumulated to the same effect.
        schedule: "cosine", or "poly": (1 - share of the steps done)^0.9.
        clip_gradient: largest norm of all gradients together; 0 does not clip.
        settle_batches: batches of training images over which the batch norms' statistics are taken
            anew at the end; 0 leaves the running ones.
        method: "sgd" with `momentum`, or "adamw" with its usual two (0.9 and 0.999).
    """

    epochs: int = field(metadata={"least": 1})
    batch: int = field(default=256, metadata={"least": 1})
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = field(default="cosine", metadata={"choices": SCHEDULES})
    clip_gradient: float = 0.0
    settle_batches: int = 0
    method: str = field(default="sgd", metadata={"choices": ("sgd", "adamw")})


@dataclass(frozen=True)
class AugmentationRecipe:
    """What is done to training images at random.

    Attributes:
        shift: for classification: up to this many pixels each way; zeros move in.
        crop: for segmentation: height and width in pixels of a part of the image; where the image is
            smaller, zeros that count for nothing are added.
        flip: horizontally, half the images.
    """

    shift: int = 0
    crop: tuple[int, int] | None = None
    flip: bool = False


@dataclass(frozen=True)
class RoutingRecipe:
    """What only routed networks have (models/losses/routing_budget.py).

    Attributes:
        budget_weight: lambda; 0 is no budget. budget_target: mu, the wanted share of the full cost.
        budget_start, budget_warm_up: shares of the training, see Budget.
        largest_threshold: once the budget has started, half of every batch is computed with gate
            thresholds drawn from [0, largest_threshold), so that the network also learns to do with
            less than it opens; the budget is then of the other half. 0 does not.
        spread_weight: of the loss that spreads the gates, so that thresholds cut cost evenly
            (models/losses/routing_spread.py); 0 is none. Its schedule is the budget's.
        gate_rate_multiplier: how many times faster than the rest the gates learn.
    """

    budget_weight: float = 0.0
    budget_target: float = 0.0
    gate_rate_multiplier: float = 1.0
    budget_start: float = START
    budget_warm_up: float = field(default=WARM_UP, metadata={"least": 1e-6})
    largest_threshold: float = 0.0
    spread_weight: float = 0.0


@dataclass(frozen=True)
class EvaluationRecipe:
    """What is measured on the images held out.

    Attributes:
        every: epochs from one measurement to the next; the end is always measured.
        shift_consistency: for classification: also measure it (models/metrics/shift_consistency.py).
        crop: height = width of the crops that are compared, in pixels.
        max_offset: offsets are drawn from [0, max_offset).
        margin: pixels of zeros added on each side before; figures with and without do not compare.
    """

    every: int = field(default=1, metadata={"least": 1})
    shift_consistency: bool = False
    crop: int = field(default=224, metadata={"least": 1})
    max_offset: int = field(default=32, metadata={"least": 1})
    margin: int = 0


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights, with the seed."""

    architecture: str
    data: DataRecipe
    optimizer: OptimizerRecipe
    seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    augmentation: AugmentationRecipe = AugmentationRecipe()
    routing: RoutingRecipe = RoutingRecipe()
    evaluation: EvaluationRecipe = EvaluationRecipe()

    def with_overrides(
        self, folder: str = "", training: str = "", validation: str = "", seed: int | None = None
    ) -> Recipe:
        """With other data of the same kind, and another seed; "" and None leave what the recipe says."""
        given = {"folder": folder, "training": training, "validation": validation}
        data = replace(self.data, **{name: path for name, path in given.items() if path})
        return replace(self, data=data, seed=self.seed if seed is None else seed)


def recipe_names() -> list[str]:
    """The recipes that come with adroit."""
    return sorted(p.name.removesuffix(".toml") for p in (resources.files("models") / "recipes").iterdir())


def read_recipe(name_or_path: str) -> tuple[Recipe, str]:
    """Reads a recipe file, or one of ours by name; returns it and its text.

    Raises:
        UsageError: not there, not TOML, or a field that is missing, unknown, of the wrong type or of
            an impossible value, with its place.
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
    recipe = built(Recipe, values, name_or_path)
    _check_fit(recipe, name_or_path)
    return recipe, text


def _check_fit(recipe: Recipe, file: str) -> None:
    """Raises UsageError, naming the field, for one that says nothing about this architecture."""
    architecture = architecture_named(recipe.architecture)
    gate = {**architecture.defaults, **recipe.arguments}.get("gate", "none")
    routed = gate != "none"
    classifies = architecture.task == "classification"
    misplaced = {
        "routing": recipe.routing != RoutingRecipe() and not routed,
        "augmentation.shift": bool(recipe.augmentation.shift) and not classifies,
        "augmentation.crop": recipe.augmentation.crop is not None and classifies,
        "evaluation.shift_consistency": recipe.evaluation.shift_consistency and not classifies,
        "data.name": recipe.data.name in READERS if classifies else recipe.data.name not in READERS,
    }
    for name, is_misplaced in misplaced.items():
        if is_misplaced:
            raise UsageError(
                f"{file}: {name} does not fit {recipe.architecture}",
                facts={"task": architecture.task, "gates": gate},
            )
