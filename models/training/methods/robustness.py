"""Accuracy under attack, as figures of a training: IGAM's evaluation (arXiv 1912.05699), and whether it can be trusted.

A network whose gradients mislead looks robust to attacks by gradients alone (arXiv 1802.00420). The signs: more steps
and restarts do more harm, an attack without gradients does more, or a large distance leaves images right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from msgspec import Struct
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.data.pixels import Pixels
from adroit.models.metrics.adversarial import Attack, attacked, fgsm, right_under
from adroit.models.metrics.square_attack import SquareAttack, square_attacked
from adroit.models.training.methods.base import Setup, TrainingMethod
from adroit.models.training.tasks.classification import Classification
from adroit.validation import Count, NonNegative, PositiveInt


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The table [robustness].

    Attributes:
        epsilon, step: of the attacks, in pixel values of 0 to 255. steps: one PGD, with a random start, for each.
        restarts: PGD's starts (within epsilon); an image counts where it is right after all of them.
        queries: of the Square attack, which uses no gradients; 0 leaves it out.
        large_epsilon: a distance at which nothing should be right, for one more PGD; 0 leaves it out.
    """

    epsilon: NonNegative = 8.0
    step: NonNegative = 2.0
    steps: tuple[PositiveInt, ...] = (5, 10, 20, 100)
    restarts: PositiveInt = 1
    queries: Count = 0
    large_epsilon: NonNegative = 0.0


class Robustness(TrainingMethod):
    """Percent of the held-out images that are right under attack.

    `fgsm_accuracy`; `pgd<steps>_accuracy` for each number of steps; `square_accuracy`; `worst_accuracy`, under all of
    these; `large_pgd_accuracy`, of the largest number of steps, each a tenth of the large distance.

    Raises:
        UsageError: targets that are no labels of images.
    """

    def __init__(self, settings: Settings, setup: Setup) -> None:
        super().__init__(settings, setup)
        if not isinstance(setup.task, Classification):
            raise UsageError("robustness is measured where images have labels, and the network learns these")
        self._settings, self._task, self._seed = settings, setup.task, setup.recipe.seed

    def figures(self, network: nn.Module) -> Mapping[str, float]:
        """Accuracy in percent under each attack; see the class."""
        pixels = Pixels(self._task.preprocessing)
        right = rights(network, list(self._task.labeled_held_out()), self._settings, pixels, self._seed)
        return {f"{name}_accuracy": 100.0 * float(one.double().mean()) for name, one in right.items()}


def rights(
    network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], settings: Settings, pixels: Pixels, seed: int
) -> dict[str, Tensor]:
    """[N] bool by the names of the attacks: which images each of them leaves right. See Robustness.

    Args:
        batches: inputs [n,C,H,W] and labels [n].
    """

    def by_gradients(attack: Attack) -> Tensor:
        def hostile(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
            return attacked(network, x, y, attack, pixels, generator)

        return right_under(network, batches, hostile, seed, attack.restarts)

    def by_squares(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        return square_attacked(network, x, y, SquareAttack(settings.epsilon, settings.queries), pixels, generator)

    right = {"fgsm": by_gradients(fgsm(settings.epsilon))}
    for steps in settings.steps:
        right[f"pgd{steps}"] = by_gradients(Attack(settings.epsilon, settings.step, steps, restarts=settings.restarts))
    if settings.queries:
        right["square"] = right_under(network, batches, by_squares, seed)
    right["worst"] = torch.stack(list(right.values())).all(0)
    if settings.large_epsilon:
        steps, large = max(settings.steps, default=1), settings.large_epsilon
        right["large_pgd"] = by_gradients(Attack(large, large / 10, steps))
    return right


METHOD = Robustness
