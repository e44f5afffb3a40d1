"""One forward pass of all that is trained: the network, its loss, and what methods add."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from adroit.models.training.learner import Learner
from adroit.models.training.methods.base import Step, TrainingMethod


class TrainingStep(nn.Module):
    """The loss of a part of a batch.

    Network and methods are one module, so that one wrapper (several processes, autocast) covers both.
    """

    def __init__(self, learner: Learner, methods: Mapping[str, TrainingMethod]) -> None:
        super().__init__()
        self.network, self._learner = learner.network, learner
        self.methods = nn.ModuleDict(methods)

    def forward(self, x: Tensor, y: Tensor, progress: float, share: float) -> tuple[Tensor, Tensor, Tensor]:
        """The loss (a scalar), what the network saw, and its logits.

        Args:
            x, y: as Task.sample makes them, [n,...]. progress: share of the training that is done.
            share: how many times the mean number of counted targets in the step's parts this part has, so that
                the mean over the parts is the mean over all targets; 1 where all count.
        """
        methods: list[TrainingMethod] = list(self.methods.values())  # type: ignore[arg-type]
        for method in methods:
            x = method.inputs(self.network, x, y)
        outcome = self._learner.loss(x, y)
        step = Step(x, y, outcome.logits, progress)
        terms = [] if any(method.replaces_loss for method in methods) else [share * outcome.task]
        terms += [term for term in (outcome.more, *(method.loss(step) for method in methods)) if term is not None]
        return torch.stack([term.float() for term in terms]).sum(), step.x, step.logits
