"""Adversarial training: every step learns from images attacked by the network as it is. Source: arXiv 1706.06083.

IGAM's teachers are trained so: distance 8, 7 steps of 2 (of pixel values to 255).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from msgspec import Struct
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.data.pixels import Pixels
from adroit.models.metrics.adversarial import Attack, attacked
from adroit.models.networks.architectures import architecture_named
from adroit.models.training.methods.base import Setup, TrainingMethod
from adroit.validation import NonNegative, PositiveInt


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The table [adversarial_training].

    Attributes:
        epsilon, step, steps, random_start: of the attack (models/metrics/adversarial.py).
        norms: what batch norms do while an attack is made, which is unpublished: "running" uses their running
            statistics and leaves them alone, "batch" normalizes by the batch (and learns from the attacks' way).
    """

    epsilon: NonNegative = 8.0
    step: NonNegative = 2.0
    steps: PositiveInt = 7
    random_start: bool = True
    norms: Literal["running", "batch"] = "running"


class AdversarialTraining(TrainingMethod):
    """Attacks the inputs.

    Raises:
        UsageError: the network classifies pixels, not images.
    """

    def __init__(self, settings: Settings, setup: Setup) -> None:
        super().__init__(settings, setup)
        check_classifies(setup, "adversarial_training")
        self._pixels = Pixels(setup.task.preprocessing)
        self._attack = Attack(settings.epsilon, settings.step, settings.steps, settings.random_start)
        self._norms = settings.norms

    def inputs(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Attacks x [n,C,H,W] with the network as it is."""
        if self._norms == "batch":
            return attacked(network, x, y, self._attack, self._pixels)
        with evaluating(network):
            return attacked(network, x, y, self._attack, self._pixels)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, and after it every module's own mode again."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def check_classifies(setup: Setup, method: str) -> None:
    """Raises UsageError for a network of pixels' classes."""
    if architecture_named(setup.recipe.architecture).task != "classification":
        raise UsageError(f"{method} is for classes of images, and {setup.recipe.architecture} classifies pixels")


METHOD = AdversarialTraining
