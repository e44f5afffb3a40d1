"""One step of the optimizer, on a whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from adroit.errors import UnsupportedModel
from adroit.models.training.adder_gradients import normalize_step
from adroit.models.training.assembly import Assembly
from adroit.models.training.batches import Batch
from adroit.models.training.device import gathered
from adroit.models.training.methods.base import Step
from adroit.models.training.optimizer import rate_factor, set_rate
from adroit.models.training.state import random_state, set_random_state
from adroit.models.training.watch import NOWHERE, all_finite, first_fault

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Stepper:
    """Forward and backward of a batch's parts, then the optimizer.

    Args:
        steps: of the whole training.
    """

    def __init__(self, fabric: Fabric, assembly: Assembly, steps: int) -> None:
        self._fabric, self._assembly, self._steps = fabric, assembly, steps

    def __call__(self, parts: list[Batch], number: int) -> float:
        """Returns the mean loss of the whole batch; `number` counts from 1.

        Raises:
            UnsupportedModel: a loss or gradient is not finite; names the layer. Nothing was changed then.
        """
        fabric, assembly, settings = self._fabric, self._assembly, self._assembly.recipe.optimizer
        progress = (number - 1) / self._steps
        assembly.learner.set_progress(progress)
        set_rate(assembly.optimizer, rate_factor(settings, progress))
        assembly.optimizer.zero_grad()
        batches = [(x.to(fabric.device), y.to(fabric.device)) for x, y in parts]
        shares = self._shares([y for _, y in batches])
        mean = torch.zeros((), device=fabric.device)
        for i, ((x, y), share) in enumerate(zip(batches, shares, strict=True)):
            again = (random_state(), (x, y, progress, share))
            with fabric.no_backward_sync(assembly.wrapped, enabled=i + 1 < len(batches)):
                loss, seen, logits = assembly.wrapped(x, y, progress, share)
                if not torch.isfinite(loss) and fabric.world_size == 1:
                    self._fail(f"the loss is {loss.item()}", number, *again)
                fabric.backward(loss / len(batches))  # of several processes all have its gradient then
            mean += loss.detach() / len(batches)
        if not all_finite([p.grad for p in assembly.trained if p.grad is not None]):
            self._fail("a gradient is not finite", number, *again)
        normalize_step(assembly.adders)
        if settings.clip_gradient:
            nn.utils.clip_grad_norm_(assembly.trained, settings.clip_gradient)
        assembly.optimizer.step()
        for method in assembly.methods.values():
            method.after_step(Step(seen, y, logits, progress))
        return float(fabric.all_reduce(mean, reduce_op="mean"))  # type: ignore[arg-type]

    def _shares(self, targets: list[Tensor]) -> list[float]:
        """How many times the mean of the step's parts, over all processes, each part's targets count."""
        counts = [self._assembly.learner.counted(y) for y in targets]
        mean = torch.tensor(sum(counts) / len(counts), dtype=torch.float64, device=self._fabric.device)
        mean = self._fabric.all_reduce(mean, reduce_op="mean")  # type: ignore[assignment]
        return [count / float(mean) if float(mean) else 1.0 for count in counts]

    def _fail(self, what: str, number: int, randoms: Mapping[str, Tensor], arguments: tuple[Any, ...]) -> None:
        """Raises UnsupportedModel with the layer, found by the same pass again."""
        set_random_state(randoms)
        where = first_fault(self._assembly.network, lambda: self._assembly.step(*arguments)[0])
        places = [place for place in gathered(self._fabric, where) if place != NOWHERE]
        epoch, step = (number - 1) // self._assembly.steps + 1, (number - 1) % self._assembly.steps + 1
        raise UnsupportedModel(
            f"{what} in epoch {epoch}, step {step}",
            facts={"first in": places[0] if places else NOWHERE},
            hint="lower optimizer.learning_rate, or set optimizer.clip_gradient",
        )
