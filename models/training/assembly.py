"""Builds all that a recipe's training consists of, in the order given in models/training/__init__.py."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from adroit.models.layers.adder import AdderConv2d
from adroit.models.networks.architectures import architecture_named, build_network, class_argument
from adroit.models.training.adder_gradients import defer_normalization
from adroit.models.training.batches import Batches, generator_of, steps_of_epoch
from adroit.models.training.device import division_of
from adroit.models.training.initial import apply_initial, read_teacher
from adroit.models.training.learner import Learner, learner_of
from adroit.models.training.methods.base import Setup, Teacher, TrainingMethod, method_module
from adroit.models.training.optimizer import make_optimizer
from adroit.models.training.state import Parts
from adroit.models.training.step import TrainingStep
from adroit.models.training.synchronized_norm import synchronize_norms
from adroit.models.training.tables import Recipe
from adroit.models.training.tasks import Task, task_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Assembly:
    """See the module's text.

    Attributes:
        steps: of an epoch. adders: the network's adder layers. trained: what the recipe's optimizer moves.
        step: network, loss and methods; `wrapped` is the same for several processes and autocast.
        parts: what an interrupted training must keep.
    """

    recipe: Recipe
    task: Task
    steps: int
    batches: Batches
    learner: Learner
    adders: list[AdderConv2d]
    methods: dict[str, TrainingMethod]
    optimizer: torch.optim.Optimizer
    trained: list[nn.Parameter]
    step: TrainingStep
    wrapped: Any
    parts: Parts

    @property
    def network(self) -> nn.Module:
        """The network in training."""
        return self.learner.network


def assemble(fabric: Fabric, recipe: Recipe, workers: int) -> Assembly:
    """On the process's device, with the global generators as the seed wants them. Raises as loop.train."""
    settings = recipe.optimizer
    _seed_everything(recipe.seed)
    teacher = read_teacher(recipe.teacher)
    task = _task(recipe, teacher)
    steps = steps_of_epoch(len(task), settings, task.views)
    division = division_of(settings, fabric.world_size, fabric.global_rank)
    batches = Batches(task, settings, recipe.seed, division, workers)
    torch.manual_seed(recipe.seed)  # whatever the task has drawn
    network = _network(recipe).to(fabric.device)
    if fabric.world_size > 1:
        synchronize_norms(network)
    adders = defer_normalization(network)
    learner = learner_of(network, task, recipe)
    methods = _methods(fabric, recipe, task, network, teacher)
    groups = learner.parameter_groups(recipe)
    groups += [group for method in methods.values() for group in method.parameter_groups(recipe)]
    optimizer = make_optimizer(settings, groups)
    optimizers = {"recipe": optimizer}
    for name, method in methods.items():
        optimizers |= {f"{name}.{i}": own for i, own in enumerate(method.optimizers())}
    step = TrainingStep(learner, methods)
    wrapped = fabric.setup_module(step)
    if fabric.global_rank:  # each process drops other paths
        _seed_everything(generator_of(recipe.seed, 3, fabric.global_rank).initial_seed())
    return Assembly(
        recipe,
        task,
        steps,
        batches,
        learner,
        adders,
        methods,
        optimizer,
        [p for group in optimizer.param_groups for p in group["params"]],
        step,
        wrapped,
        Parts({"network": network, **methods}, optimizers),
    )


def _seed_everything(seed: int) -> None:
    """The global generators: networks and methods may draw from any."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _task(recipe: Recipe, teacher: Teacher | None) -> Task:
    task = task_of(recipe)
    for name, settings in recipe.methods.items():
        task = method_module(name).METHOD.task(settings, task, recipe, teacher)
    task.check_classes(class_argument(architecture_named(recipe.architecture), recipe.arguments)[1])
    return task


def _network(recipe: Recipe) -> nn.Module:
    network = build_network(recipe.architecture, recipe.arguments)
    if recipe.initial.checkpoint or recipe.initial.trainable == "head":
        apply_initial(network, recipe.architecture, recipe.arguments, recipe.initial)
    return network


def _methods(
    fabric: Fabric, recipe: Recipe, task: Task, network: nn.Module, teacher: Teacher | None
) -> dict[str, TrainingMethod]:
    if teacher is not None:
        teacher.network.to(fabric.device)
    setup = Setup(recipe, task, network, teacher)
    return {
        name: method_module(name).METHOD(settings, setup).to(fabric.device) for name, settings in recipe.methods.items()
    }
