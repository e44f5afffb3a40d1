"""Accuracy under attack, as figures of a training: IGAM's evaluation (arXiv 1912.05699)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from models.data.pixels import Pixels
from models.errors import UsageError
from models.methods.base import Method, Setup
from models.metrics.adversarial import Attack, fgsm, robust_accuracy
from models.training.tasks.classification import Classification


@dataclass(frozen=True)
class Settings:
    """The table [robustness].

    Attributes:
        epsilon, step: of the attacks, in pixel values of 0 to 255. steps: one PGD, with a random start, for each.
    """

    epsilon: float = 8.0
    step: float = 2.0
    steps: tuple[float, ...] = field(default=(5.0, 10.0, 20.0, 100.0), metadata={"least": 1})


class Robustness(Method):
    """Measures `fgsm_accuracy` and, for each number of steps, `pgd<steps>_accuracy`: percent of the held-out images.

    Raises:
        UsageError: targets that are no labels of images; steps that are not whole.
    """

    def __init__(self, settings: Settings, setup: Setup) -> None:
        super().__init__(settings, setup)
        if not isinstance(setup.task, Classification):
            raise UsageError("robustness is measured where images have labels, and the network learns these")
        if any(steps != int(steps) for steps in settings.steps):
            raise UsageError(f"robustness.steps must be whole numbers, and are {list(settings.steps)}")
        self._task, self._seed = setup.task, setup.recipe.seed
        self._attacks = {"fgsm": fgsm(settings.epsilon)} | {
            f"pgd{int(steps)}": Attack(settings.epsilon, settings.step, int(steps)) for steps in settings.steps
        }

    def figures(self, network: nn.Module) -> Mapping[str, float]:
        pixels, task = Pixels(self._task.preprocessing), self._task
        return {
            f"{name}_accuracy": 100.0 * robust_accuracy(network, task.labelled_held_out(), attack, pixels, self._seed)
            for name, attack in self._attacks.items()
        }


METHOD = Robustness
