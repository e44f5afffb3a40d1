"""The training loop: any task, any network."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from models.architectures import build_network
from models.checkpoint import CheckpointConfig, save_checkpoint
from models.errors import UnsupportedModel
from models.statistics import settle_batch_norm
from models.training.learner import Learner, learner_of
from models.training.recipe import OptimizerRecipe, Recipe
from models.training.tasks import Task, task_of

# Share of the training that is done to the share of the learning rate that is left.
SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "poly": lambda progress: (1.0 - progress) ** 0.9,
}


@dataclass(frozen=True)
class Epoch:
    """An epoch's mean training loss, and the task's measure (0 to 1) on the images held out, if it was taken."""

    number: int
    epochs: int
    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Trained:
    """What the finished network reaches on the images held out.

    Attributes:
        accuracy: the task's measure, 0 to 1. measure: what that is, to be read after a percentage.
        figures: what else was measured, by name.
    """

    accuracy: float
    measure: str
    figures: Mapping[str, float]


def train(recipe: Recipe, recipe_text: str, folder: Path, report: Callable[[Epoch], None]) -> Trained:
    """Trains as the recipe says and writes a checkpoint to `folder`.

    The same recipe gives the same weights on the same machine and thread count.

    Raises:
        UsageError: data that is missing, has no labels, or labels that are no classes.
        UnsupportedModel: the loss is no longer finite.
    """
    task = task_of(recipe)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.architecture, recipe.arguments)
    learner = learner_of(network, task, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    _run(learner, task, recipe, generator, report)
    _settle(learner, task, recipe.optimizer, generator)
    figures = {**task.figures(network), **learner.figures(task.held_out())}
    trained = Trained(task.evaluate(network), task.measure, figures)
    source = {
        "recipe_sha256": hashlib.sha256(recipe_text.encode()).hexdigest(),
        "data": {name: value for name, value in asdict(recipe.data).items() if value},
        "seed": recipe.seed,
        "accuracy": trained.accuracy,
        **figures,
    }
    config = CheckpointConfig(
        recipe.architecture, task.preprocessing, dict(recipe.arguments), list(task.labels), source
    )
    save_checkpoint(folder, network.eval(), config)
    return trained


def _run(
    learner: Learner, task: Task, recipe: Recipe, generator: torch.Generator, report: Callable[[Epoch], None]
) -> None:
    settings, every = recipe.optimizer, recipe.evaluation.every
    steps = max(1, len(task) // settings.batch)
    groups, rate = learner.parameter_groups(recipe), settings.learning_rate
    optimizer: torch.optim.Optimizer
    if settings.method == "adamw":
        optimizer = torch.optim.AdamW(groups, rate)
    else:
        optimizer = torch.optim.SGD(groups, rate, settings.momentum)
    schedule = LambdaLR(optimizer, lambda step: SCHEDULES[settings.schedule](step / (settings.epochs * steps)))
    for number in range(1, settings.epochs + 1):
        learner.network.train()
        losses = 0.0
        order = torch.randperm(len(task), generator=generator)
        for step in range(steps):
            learner.set_progress((number - 1 + step / steps) / settings.epochs)
            x, y = task.batch(order[step * settings.batch : (step + 1) * settings.batch], generator)
            loss = learner.loss(x, y)
            if not torch.isfinite(loss):
                raise UnsupportedModel(
                    f"the loss is {loss.item()} in epoch {number}, step {step + 1}",
                    hint="lower optimizer.learning_rate, or set optimizer.clip_gradient",
                )
            optimizer.zero_grad()
            loss.backward()
            if settings.clip_gradient:
                nn.utils.clip_grad_norm_(learner.network.parameters(), settings.clip_gradient)
            optimizer.step()
            schedule.step()
            losses += loss.item()
        measured = number % every == 0 and number < settings.epochs
        report(Epoch(number, settings.epochs, losses / steps, task.evaluate(learner.network) if measured else None))


def _settle(learner: Learner, task: Task, settings: OptimizerRecipe, generator: torch.Generator) -> None:
    """Batch norms get the statistics of the finished weights, with nothing dropped, as in deployment."""
    if not settings.settle_batches:
        return
    learner.set_progress(0.0)
    batches: list[torch.Tensor] = []
    while len(batches) < settings.settle_batches:
        batches += list(torch.randperm(len(task), generator=generator).split(settings.batch))
    settle_batch_norm(learner.network, (task.batch(b, generator)[0] for b in batches[: settings.settle_batches]))
