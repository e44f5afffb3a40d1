"""The generic perceptual loss (models/losses/generic_perceptual.py) beside a segmentation network's own."""

from __future__ import annotations

from typing import Literal

import torch
from msgspec import Struct
from torch import Tensor

from adroit.errors import UsageError
from adroit.models.losses.generic_perceptual import (
    MINIMUM_SIZE,
    PAPER_GAIN,
    RECOMMENDED_LAYOUT,
    GenericPerceptualLoss,
    Levels,
    RandomVgg,
    one_hot_map,
    score_map,
)
from adroit.models.networks.architectures import architecture_named
from adroit.models.training.methods.base import Setup, Step, Teacher, TrainingMethod
from adroit.validation import Count, NonNegative, PositiveInt


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Weight and choices, of which the paper's are not all known (models/losses/generic_perceptual.py).

    Attributes:
        weight: lambda.
        target: "teacher" (soft labels of the recipe's teacher, as in the paper) or "labels" (one-hot ones, for
            which the paper finds convergence hard; void pixels then do not count).
        layout, width, kernel_size, gain, levels, shrink: of the random network and its use.
        seed: of its weights; the recipe's own seed does not change them.
    """

    weight: NonNegative = 1.0
    target: Literal["teacher", "labels"] = "teacher"
    layout: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] = RECOMMENDED_LAYOUT
    width: PositiveInt = 64
    kernel_size: PositiveInt = 3
    gain: NonNegative = PAPER_GAIN
    levels: Levels = "blocks"
    shrink: PositiveInt = 1
    seed: Count = 0


class PerceptualLoss(TrainingMethod):
    """weight * the loss between the network's scores and the target's.

    Raises:
        UsageError: a network that does not segment, inputs or a kernel that make no embedding, a target of a
            teacher without one, or a teacher whose classes or preprocessing are not the network's.
    """

    def __init__(self, settings: Settings, setup: Setup) -> None:
        super().__init__(settings, setup)
        architecture, task = architecture_named(setup.recipe.architecture), setup.task
        if architecture.task != "segmentation":
            raise UsageError(f"perceptual_loss does not fit {architecture.name}: it compares maps of pixels")
        if settings.kernel_size % 2 == 0:
            raise UsageError(f"perceptual_loss.kernel_size must be odd, and is {settings.kernel_size}")
        if min(task.input_size) // settings.shrink < MINIMUM_SIZE:
            raise UsageError(
                f"perceptual_loss.shrink of {settings.shrink} leaves fewer than {MINIMUM_SIZE} pixels a side",
                facts={"input": task.input_size},
            )
        self._weight, self._ignored, self._classes = settings.weight, task.ignored, len(task.labels)
        # In a list, since the teacher is no part of what is trained or saved.
        self._teacher = [_fitting(setup)] if settings.target == "teacher" else []
        network = RandomVgg(
            self._classes, settings.layout, settings.width, settings.kernel_size, settings.gain, settings.seed
        )
        self.distance = GenericPerceptualLoss(network, settings.levels, settings.shrink)
        self.to(next(setup.network.parameters()).device)

    def loss(self, step: Step) -> Tensor:
        """The weighted distance between the network's score map and the target's."""
        prediction = score_map(step.logits)
        if not self._teacher:
            target = one_hot_map(step.y, self._classes, prediction.dtype)
            counted = None if self._ignored is None else torch.ne(step.y, self._ignored).unsqueeze(1)
            distance: Tensor = self.distance(prediction, target, counted)
        else:
            with torch.no_grad():
                target = score_map(self._teacher[0].network(step.x))
            distance = self.distance(prediction, target)
        return self._weight * distance


def _fitting(setup: Setup) -> Teacher:
    teacher = setup.teacher
    if teacher is None:
        raise UsageError(
            'perceptual_loss.target is "teacher", and the recipe has none',
            hint='give --teacher CHECKPOINT, or set target = "labels"',
        )
    task, config = setup.task, teacher.config
    for name, mine, its in (
        ("classes are", list(task.labels), list(config.labels)),
        ("preprocessing is", task.preprocessing, config.preprocessing),
    ):
        if mine != its:
            raise UsageError(f"the teacher's {name} not the data's", facts={"data": mine, "teacher": its})
    return teacher


METHOD = PerceptualLoss
