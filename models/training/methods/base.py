"""What a training method may do, and what it is given."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adroit.models.checkpoints.checkpoint import CheckpointConfig
from adroit.models.training.tables import Recipe
from adroit.models.training.tasks import Task


@dataclass(frozen=True)
class Teacher:
    """A finished checkpoint that a method learns from: in evaluation mode, its parameters without gradient."""

    network: nn.Module
    config: CheckpointConfig


@dataclass(frozen=True)
class Setup:
    """The training that a method is built for.

    Attributes:
        network: the one in training, on its device.
        teacher: on the same device; None where the recipe names none.
    """

    recipe: Recipe
    task: Task
    network: nn.Module
    teacher: Teacher | None


@dataclass(frozen=True)
class Step:
    """One forward pass in training.

    Attributes:
        x: what the network saw, [n,C,H,W]. y: its targets, as `Task.sample` makes them.
        logits: what it answered. progress: share of the training that is done, 0 to 1.
    """

    x: Tensor
    y: Tensor
    logits: Tensor
    progress: float


class TrainingMethod(nn.Module):
    """The loop calls these in the order in which they stand; each does nothing here.

    Submodules whose parameters want a gradient (exit heads, say) are trained by the recipe's optimizer,
    and saved for `--resume` but not in the checkpoint. What must not be trained (a frozen VGG) has
    requires_grad off; what has an optimizer of its own (a discriminator) is listed by `optimizers`.
    An attribute that is a module becomes a submodule: keep the network and the teacher out of them, or in a tuple.
    """

    # Whether `loss` stands in place of the task's cross entropy.
    replaces_loss = False

    def __init__(self, settings: Any, setup: Setup) -> None:
        """settings: of this module's `Settings`. Forward hooks on setup.network are set here."""
        super().__init__()

    @classmethod
    def task(cls, settings: Any, task: Task, recipe: Recipe, teacher: Teacher | None) -> Task:
        """The task with other inputs or targets (rotations, pseudo-labels); called before there is a network."""
        return task

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """For the recipe's optimizer."""
        trainable = [p for p in self.parameters() if p.requires_grad]
        return [{"params": trainable, "weight_decay": recipe.optimizer.weight_decay}] if trainable else []

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Those that the method steps itself; their parameters are kept out of `parameter_groups`."""
        return ()

    def inputs(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """What the network is to see instead of x: attacked images, or x with requires_grad."""
        return x

    def loss(self, step: Step) -> Tensor | None:
        """A term of the loss, weighted; a scalar, or None."""
        return None

    def after_step(self, step: Step) -> None:
        """After the optimizer's step."""

    def figures(self, network: nn.Module) -> Mapping[str, float]:
        """What the finished network is also measured by, for the report and the checkpoint's source."""
        return {}

    def finish(self, network: nn.Module) -> None:
        """Leaves nothing of the method in the network: hooks removed, parametrizations folded."""


def method_module(name: str) -> Any:
    """Imports the module of the method `name`, with `Settings` (a struct) and `METHOD` (a TrainingMethod's class)."""
    return importlib.import_module(f"adroit.models.training.methods.{name}")
