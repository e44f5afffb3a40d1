"""Self-regulation (models/losses/self_regulation.py) of any network, by exits that only training sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.losses import self_regulation as losses
from adroit.models.losses.precision import in_float32
from adroit.models.losses.self_regulation import ExitAnswers
from adroit.models.networks.architectures import architecture_named, class_argument
from adroit.models.training.methods.attach_points import attach_points
from adroit.models.training.methods.base import Setup, Step, TrainingMethod
from adroit.models.training.methods.exits import ExitHeads
from adroit.models.training.methods.taps import Taps, tapped_channels
from adroit.models.training.synchronized_norm import synchronize_norms
from adroit.validation import NonNegative, PositiveInt

# Share of the official code's 40,000 iterations before the exits teach each other, by its README.
START = 0.25


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Weights and choices of models/losses/self_regulation.py, which says what is the paper's and what was chosen.

    Attributes:
        classification_weight, segmentation_weight, regulation_weight: lambda 1, 2 and 3.
        form: "paper" or "code".
        feature_temperature, logit_temperature: tau of SR-F and of SR-L.
        normalization: of the features: "softmax" or "sum".
        literal: powers are not normalized again.
        pixel_logits: SR-L is of the pixels' logits and not of the image's.
        start: share of the training before SR-F and SR-L count.
        channels: of an exit's features; the official code's exits have 256.
        points: modules after which the exits sit, shallow to deep; empty is models/training/methods/attach_points.py.
    """

    classification_weight: NonNegative = 0.2
    segmentation_weight: NonNegative = 0.8
    regulation_weight: NonNegative = 1.0
    form: Literal["paper", "code"] = "paper"
    feature_temperature: Annotated[float, Meta(ge=1e-3, le=1e6)] = 1.0
    logit_temperature: Annotated[float, Meta(ge=1e-3, le=1e6)] = 1.0
    normalization: Literal["softmax", "sum"] = "softmax"
    literal: bool = False
    pixel_logits: bool = False
    start: NonNegative = START
    channels: PositiveInt = 256
    points: tuple[str, ...] = ()


class SelfRegulation(TrainingMethod):
    """The whole loss of a segmentation network, its own logits being those of the last exit.

    For classification an image is one pixel: L_cls and L_seg are one loss, with the sum of their weights. (The
    paper has segmentation only.) Means are of the part of a batch at hand: with several parts or processes, a pixel
    counts more where its part has more void.

    Raises:
        UsageError: fewer than two points, or points that are no feature maps of the network; a form of the loss
            that a classification network cannot have.
    """

    replaces_loss = True

    def __init__(self, settings: Settings, setup: Setup) -> None:
        super().__init__(settings, setup)
        recipe, task = setup.recipe, setup.task
        architecture = architecture_named(recipe.architecture)
        of_pixels = architecture.task == "segmentation"
        if not of_pixels and (settings.form == "code" or settings.pixel_logits):
            name = "pixel_logits" if settings.pixel_logits else "form"
            raise UsageError(f"self_regulation.{name}: {architecture.name} has no logits of pixels to teach with")
        points = list(settings.points) or attach_points(setup.network)
        if len(points) < 2:
            raise UsageError("self_regulation.points must be two or more: one exit has nobody to teach")
        self.settings, self._ignored = settings, task.ignored
        before = tapped_channels(setup.network, points, task.input_size, len(task.preprocessing.mean))
        self.classes = class_argument(architecture, recipe.arguments)[1]
        self.heads = ExitHeads(before, settings.channels, self.classes, of_pixels, settings.form == "paper")
        self.heads.to(next(setup.network.parameters()).device)
        synchronize_norms(self.heads)
        self._taps = Taps(setup.network, points)

    def loss(self, step: Step) -> Tensor:
        """The total, of the features that the step's forward left at the taps."""
        settings = self.settings
        exits: Sequence[ExitAnswers] = self.heads(self._taps.take(), step.logits)
        total = self._multi_exit(exits, step.y)
        # Times 0, not left out, before its time: see ExitHeads on gradients.
        weight = settings.regulation_weight if step.progress >= settings.start else 0.0
        return total + weight * self._regulation(exits)

    def _multi_exit(self, exits: Sequence[ExitAnswers], y: Tensor) -> Tensor:
        classification, segmentation = self.settings.classification_weight, self.settings.segmentation_weight
        if not self.heads.of_pixels:
            losses_of_exits = torch.stack([functional.cross_entropy(in_float32(e.image), y) for e in exits])
            return (classification + segmentation) * losses_of_exits.sum()
        present = losses.present_classes(y, self.classes)
        images = [functional.binary_cross_entropy_with_logits(in_float32(e.image), present) for e in exits]
        pixels = [losses.pixel_cross_entropy(e.of_pixels, y, self._ignored) for e in exits]
        return classification * torch.stack(images).sum() + segmentation * torch.stack(pixels).sum()

    def _regulation(self, exits: Sequence[ExitAnswers]) -> Tensor:
        settings = self.settings
        if settings.form == "code":
            return losses.shallow_to_deep_hard(exits) + losses.deep_to_shallow_binary(exits)
        features = losses.shallow_to_deep(exits, settings.feature_temperature, settings.normalization, settings.literal)
        logits = losses.deep_to_shallow(exits, settings.logit_temperature, settings.literal, settings.pixel_logits)
        return features + logits

    def finish(self, network: object) -> None:
        """Removes the taps from the network."""
        self._taps.remove()


METHOD = SelfRegulation
