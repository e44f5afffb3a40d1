"""How a kind of network learns: its parameter groups and its loss, whatever the task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from adroit.models.losses.routing_budget import BudgetLoss, BudgetSchedule
from adroit.models.losses.routing_spread import SpreadLoss
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.networks.dynamic_routing.parameter_groups import parameter_groups
from adroit.models.routing.cost import cost_table
from adroit.models.routing.route import Route
from adroit.models.training.precise_batch_norm import recompute_batch_norm_statistics
from adroit.models.training.tables import Recipe
from adroit.models.training.tasks import Task, device_of


class Outcome(NamedTuple):
    """A forward pass: the task's loss, what the kind of network adds to it (None: nothing), and the logits."""

    task: Tensor
    more: Tensor | None
    logits: Tensor


class Learner:
    """An ordinary network: cross entropy, one parameter group.

    Args:
        network: in training mode. ignored: the target value that counts for nothing, or None.
    """

    def __init__(self, network: nn.Module, ignored: int | None) -> None:
        self.network, self._ignored = network, ignored

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """For a torch optimizer: what is trained, by whether it decays and whether it is of a backbone."""
        settings = recipe.optimizer
        norms = {id(p) for m in self.network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                decays = settings.decay_norms or id(parameter) not in norms
                groups.setdefault((decays, name.startswith("backbone.")), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": settings.learning_rate * (settings.backbone_rate if in_backbone else 1.0),
                "weight_decay": settings.weight_decay if decays else 0.0,
            }
            for (decays, in_backbone), parameters in groups.items()
        ]

    def set_progress(self, progress: float) -> None:
        """progress: share of the training that is done, 0 to 1, for what follows a schedule."""

    def loss(self, x: Tensor, y: Tensor) -> Outcome:
        """Of inputs [n,C,H,W] and targets ([n] or [n,H,W] int64, or [n,classes] float32 shares)."""
        logits: Tensor = self.network(x)
        return Outcome(self.cross_entropy(logits, y), None, logits)

    def counted(self, y: Tensor) -> int:
        """How many of the targets count."""
        return y.numel() if self._ignored is None or y.is_floating_point() else int((y != self._ignored).sum())

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean over the targets that count; 0, not NaN, where none does."""
        if self._ignored is None or y.is_floating_point():
            return functional.cross_entropy(logits, y)
        total = functional.cross_entropy(logits, y, ignore_index=self._ignored, reduction="sum")
        return total / (y != self._ignored).sum().clamp(min=1)

    def recompute_statistics(self, batches: Iterable[Tensor]) -> None:
        """Gives batch norms the statistics of the finished weights over inputs [n,C,H,W], with nothing dropped."""
        recompute_batch_norm_statistics(self.network, batches)

    def figures(self, inputs: Iterable[Tensor]) -> Mapping[str, float]:
        """What this kind of network is also measured by, over inputs [n,C,H,W]."""
        return {}


class RoutedLearner(Learner):
    """A routed network: with budget loss and drop path on their schedules, its gates in a group of their own.

    One without gates is trained alike; the budget is then a constant.

    Args:
        network, ignored: as for Learner. recipe: [routing]. size: height and width of the training
            inputs; costs of the budget are of that size.
    """

    network: DynamicRouting

    def __init__(self, network: DynamicRouting, ignored: int | None, recipe: Recipe, size: tuple[int, int]) -> None:
        super().__init__(network, ignored)
        self._classes = network.sem_seg_head.predictor.out_channels
        costs = cost_table(network.space, size, self._classes, network.gate, "paper", network.stem)
        routing = recipe.routing
        budget = BudgetSchedule(
            routing.budget_weight, routing.budget_target, routing.budget_start, routing.budget_warm_up
        )
        device = device_of(network)
        self._budget = BudgetLoss(costs, budget, routing.full_cost or None).to(device)
        self._largest_threshold = routing.largest_threshold
        self._spread = SpreadLoss(costs, budget, routing.spread_weight).to(device) if routing.spread_weight else None
        self._progress = 0.0

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """As Learner.parameter_groups; gates learn faster, and norms never decay."""
        settings = recipe.optimizer
        groups = parameter_groups(
            self.network, settings.learning_rate, settings.weight_decay, recipe.routing.gate_rate_multiplier
        )
        return [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]

    def set_progress(self, progress: float) -> None:
        """Moves the schedules of drop path, budget and spread to `progress`, 0 to 1."""
        self._progress = progress
        self.network.set_progress(progress)

    def loss(self, x: Tensor, y: Tensor) -> Outcome:
        """As Learner.loss; the budget's and the spread's losses are added."""
        started = self._largest_threshold > 0.0 and self._progress > self._budget.budget.start
        whole = len(x) - len(x) // 2 if started else len(x)
        logits, gates = self.network(x, self._thresholds(whole, len(x) - whole).to(x.device), with_gates=True)
        more: Tensor = self._budget(gates[:whole], self._progress)
        if self._spread:
            more = more + self._spread(gates[:whole], self._progress)
        return Outcome(self.cross_entropy(logits, y), more, logits)

    def _thresholds(self, whole: int, drawn: int) -> Tensor:
        """0 for the first `whole` samples, at random for the others."""
        return torch.cat([torch.zeros(whole), torch.rand(drawn) * self._largest_threshold])

    def recompute_statistics(self, batches: Iterable[Tensor]) -> None:
        """As Learner.recompute_statistics; half of every batch under thresholds, where the training was."""
        self.network.set_progress(0.0)

        def run(x: Tensor) -> None:
            drawn = len(x) // 2 if self._largest_threshold else 0
            self.network(x, self._thresholds(len(x) - drawn, drawn).to(x.device))

        recompute_batch_norm_statistics(self.network, batches, run)

    def figures(self, inputs: Iterable[Tensor]) -> Mapping[str, float]:
        """`routes`: how many different ones the images take. `gigaflops`: mean of an image, own counting.

        `gigaflops_all_open` is what an image would cost with every path open.
        """
        self.network.eval()
        device = device_of(self.network)
        routes: set[Route] = set()
        costs, everything = [], []
        with torch.inference_mode():
            for x in inputs:
                network, size = self.network, (x.shape[2], x.shape[3])
                table = cost_table(network.space, size, self._classes, network.gate, stem=network.stem)
                for gates in self.network(x.to(device), with_gates=True)[1].cpu().numpy():
                    route = Route.from_gates(self.network.space, gates)
                    routes.add(route)
                    costs.append(table.of_route(route).total / 1e9)
                    everything.append(table.of_route(Route.all_open(self.network.space)).total / 1e9)
        return {
            "routes": len(routes),
            "gigaflops": float(np.mean(costs)),
            "gigaflops_all_open": float(np.mean(everything)),
        }


def learner_of(network: nn.Module, task: Task, recipe: Recipe) -> Learner:
    """The one that fits the network."""
    if isinstance(network, DynamicRouting):
        return RoutedLearner(network, task.ignored, recipe, task.input_size)
    return Learner(network, task.ignored)
