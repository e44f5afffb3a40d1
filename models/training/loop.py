"""The training loop: any task, any network, any method."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from models import files
from models.architectures import architecture_named, build_network
from models.checkpoint import CheckpointConfig, check_checkpoint_folder, save_checkpoint
from models.errors import UnsupportedModel, UsageError
from models.methods.base import Method, Setup, Step, method_module
from models.training.adder_gradients import defer_normalisation, normalise_step
from models.training.batches import Batch, Batches, generator_of, steps_of_epoch
from models.training.device import division_of, start_fabric
from models.training.initial import apply_initial, read_teacher, set_training_mode
from models.training.learner import learner_of
from models.training.optimizer import make_optimizer, rate_factor, set_rate
from models.training.options import RunOptions, StepDone
from models.training.recipe import Recipe
from models.training.state import Parts, Position, random_state, read_state, save_state, set_random_state, state_path
from models.training.step import TrainingStep
from models.training.synchronised_norm import synchronise_norms
from models.training.tasks import Task, task_of
from models.training.watch import all_finite, first_fault

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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


def train(
    recipe: Recipe,
    recipe_text: str,
    folder: Path,
    report: Callable[[Epoch], None],
    options: RunOptions = RunOptions(),  # noqa: B008 (frozen)
) -> Trained | None:
    """Trains as the recipe says and writes a checkpoint to `folder`.

    The same recipe gives the same weights on the same machine, thread count and number of devices, however
    many workers read its images and however often it was interrupted. Of several processes only the first
    reports, writes, and returns something.

    Raises:
        UsageError: data that is missing, has no labels, or labels that are no classes; a folder that is no
            checkpoint; an interrupted training of another recipe, or one that `options` do not resume.
        UnsupportedModel: the loss or a gradient is no longer finite; names the layer.
        OutOfResource: the disk is full.
    """
    check_checkpoint_folder(folder)
    fabric = start_fabric(options, recipe.optimizer)
    training = _Training(fabric, recipe, folder, report, options)
    training.run()
    training.settle()
    trained = None
    if fabric.global_rank == 0:
        trained = training.finish(recipe_text)
        state_path(folder).unlink(missing_ok=True)
    fabric.barrier()
    return trained


class _Training:
    """One run of `train`."""

    def __init__(
        self, fabric: Fabric, recipe: Recipe, folder: Path, report: Callable[[Epoch], None], options: RunOptions
    ) -> None:
        self._fabric, self._recipe, self._folder, self._report, self._options = fabric, recipe, folder, report, options
        settings = recipe.optimizer
        _seed_everything(recipe.seed)
        teacher = read_teacher(recipe.teacher)
        self._task = _task(recipe, teacher)
        self._steps = steps_of_epoch(len(self._task), settings)
        division = division_of(settings, fabric.world_size, fabric.global_rank)
        self._batches = Batches(self._task, settings, recipe.seed, division, options.workers)
        torch.manual_seed(recipe.seed)
        network = _network(recipe).to(fabric.device)
        if fabric.world_size > 1:
            synchronise_norms(network)
        self._adders = defer_normalisation(network)
        self._learner = learner_of(network, self._task, recipe)
        if teacher is not None:
            teacher.network.to(fabric.device)
        setup = Setup(recipe, self._task, network, teacher)
        self._methods: dict[str, Method] = {
            name: method_module(name).METHOD(given, setup).to(fabric.device) for name, given in recipe.methods.items()
        }
        groups = self._learner.parameter_groups(recipe)
        groups += [group for method in self._methods.values() for group in method.parameter_groups(recipe)]
        self._optimizer = make_optimizer(settings, groups)
        self._trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._step = TrainingStep(self._learner, self._methods)
        self._wrapped = fabric.setup_module(self._step)
        optimizers = {"recipe": self._optimizer}
        for name, method in self._methods.items():
            optimizers |= {f"{name}.{i}": own for i, own in enumerate(method.optimizers())}
        self._parts = Parts({"network": network, **self._methods}, optimizers)
        if fabric.global_rank:  # each process drops other paths
            _seed_everything(generator_of(recipe.seed, 3, fabric.global_rank).initial_seed())

    def run(self) -> None:
        """All steps that are not done yet."""
        position = self._begin()
        epochs, total = self._recipe.optimizer.epochs, self._recipe.optimizer.epochs * self._steps
        losses = position.losses
        if self._options.on_begin and self._fabric.global_rank == 0:
            self._options.on_begin(position.step, total)
        set_training_mode(self._learner.network, self._recipe.initial.trained == "head")
        for done, parts in enumerate(self._batches.steps(position.step, total), position.step + 1):
            loss = self._one_step(parts, done, total)
            losses += loss
            ends_epoch = done % self._steps == 0
            if self._options.on_step and self._fabric.global_rank == 0:
                factor = rate_factor(self._recipe.optimizer, (done - 1) / total)
                self._options.on_step(StepDone(done, total, loss, factor))
            if ends_epoch:
                self._end_epoch(done // self._steps, epochs, losses / self._steps)
                losses = 0.0
            every = self._options.keep_every
            if done < total and (ends_epoch or (every and done % every == 0)):
                self._keep(Position(done, losses))

    def _one_step(self, parts: list[Batch], number: int, total: int) -> float:
        """Returns the mean loss of the whole batch."""
        fabric, settings = self._fabric, self._recipe.optimizer
        progress = (number - 1) / total
        self._learner.set_progress(progress)
        set_rate(self._optimizer, rate_factor(settings, progress))
        self._optimizer.zero_grad()
        batches = [(x.to(fabric.device), y.to(fabric.device)) for x, y in parts]
        shares = self._shares([y for _, y in batches])
        mean = torch.zeros((), device=fabric.device)
        step: Step | None = None
        for i, ((x, y), share) in enumerate(zip(batches, shares, strict=True)):
            randoms = random_state()
            with fabric.no_backward_sync(self._wrapped, enabled=i + 1 < len(batches)):
                loss, seen, logits = self._wrapped(x, y, progress, share)
                if not torch.isfinite(loss):
                    self._fail(f"the loss is {loss.item()}", number, randoms, (x, y, progress, share))
                fabric.backward(loss / len(batches))
            step = Step(seen, y, logits, progress)
            mean += loss.detach() / len(batches)
        gradients = [p.grad for p in self._trained if p.grad is not None]
        if not all_finite(gradients):
            self._fail("a gradient is not finite", number, randoms, (x, y, progress, share))
        normalise_step(self._adders)
        if settings.clip_gradient:
            nn.utils.clip_grad_norm_(self._trained, settings.clip_gradient)
        self._optimizer.step()
        assert step is not None
        for method in self._methods.values():
            method.after_step(step)
        return float(fabric.all_reduce(mean, reduce_op="mean"))  # type: ignore[arg-type]

    def _shares(self, targets: list[Tensor]) -> list[float]:
        """How many times the mean of the step's parts, over all processes, each part's targets count."""
        counts = [self._learner.counted(y) for y in targets]
        mean = torch.tensor(sum(counts) / len(counts), dtype=torch.float64, device=self._fabric.device)
        mean = self._fabric.all_reduce(mean, reduce_op="mean")  # type: ignore[assignment]
        return [count / float(mean) if float(mean) else 1.0 for count in counts]

    def _fail(self, what: str, number: int, randoms: Mapping[str, Tensor], arguments: tuple[Any, ...]) -> None:
        """Raises UnsupportedModel with the layer, found by the same pass again."""
        set_random_state(randoms)
        where = first_fault(self._learner.network, lambda: self._step(*arguments)[0])
        epoch, step = (number - 1) // self._steps + 1, (number - 1) % self._steps + 1
        raise UnsupportedModel(
            f"{what} in epoch {epoch}, step {step}",
            facts={"first in": where},
            hint="lower optimizer.learning_rate, or set optimizer.clip_gradient",
        )

    def _end_epoch(self, number: int, epochs: int, loss: float) -> None:
        measured = number % self._recipe.evaluation.every == 0 and number < epochs
        if self._fabric.global_rank == 0:
            accuracy = self._task.evaluate(self._learner.network) if measured else None
            self._report(Epoch(number, epochs, loss, accuracy))
        self._fabric.barrier()
        set_training_mode(self._learner.network, self._recipe.initial.trained == "head")

    def _about(self) -> dict[str, Any]:
        return {**asdict(self._recipe), "training images": len(self._task), "processes": self._fabric.world_size}

    def _begin(self) -> Position:
        path = state_path(self._folder)
        if not path.exists():
            return Position()
        if not self._options.resume:
            raise UsageError(
                f"{path} holds an interrupted training", hint="give --resume to go on with it, or delete it"
            )
        return read_state(path, self._about(), self._parts, self._fabric.global_rank)

    def _keep(self, position: Position) -> None:
        randoms: list[Any] = [random_state()]
        if self._fabric.world_size > 1:
            randoms = [None] * self._fabric.world_size
            torch.distributed.all_gather_object(randoms, random_state())
        if self._fabric.global_rank == 0:
            save_state(state_path(self._folder), self._about(), position, self._parts, randoms)

    def settle(self) -> None:
        """Batch norms get the statistics of the finished weights."""
        if self._recipe.optimizer.settle_batches:
            device = self._fabric.device
            self._learner.settle(x.to(device) for x in self._batches.settling())

    def finish(self, recipe_text: str) -> Trained:
        """Measures the network and writes the checkpoint."""
        network, recipe, task = self._learner.network, self._recipe, self._task
        figures = {**task.figures(network), **self._learner.figures(task.held_out())}
        for method in self._methods.values():
            figures |= method.figures(network)
        for method in self._methods.values():
            method.finish(network)
        trained = Trained(task.evaluate(network), task.measure, figures)
        source = {
            "recipe_sha256": hashlib.sha256(recipe_text.encode()).hexdigest(),
            "data": {name: value for name, value in asdict(recipe.data).items() if value},
            "seed": recipe.seed,
            **_origins(recipe),
            "accuracy": trained.accuracy,
            **figures,
        }
        config = CheckpointConfig(
            recipe.architecture, task.preprocessing, dict(recipe.arguments), list(task.labels), source
        )
        save_checkpoint(self._folder, network.eval().cpu(), config)
        return trained


def _seed_everything(seed: int) -> None:
    """The global generators: networks and methods may draw from any."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _task(recipe: Recipe, teacher: Any) -> Task:
    task = task_of(recipe)
    for name, settings in recipe.methods.items():
        task = method_module(name).METHOD.task(settings, task, recipe, teacher)
    task.check_classes(int({**architecture_named(recipe.architecture).defaults, **recipe.arguments}["classes"]))
    return task


def _network(recipe: Recipe) -> nn.Module:
    network = build_network(recipe.architecture, recipe.arguments)
    if recipe.initial.checkpoint or recipe.initial.trained == "head":
        apply_initial(network, recipe.architecture, recipe.arguments, recipe.initial)
    return network


def _origins(recipe: Recipe) -> dict[str, Any]:
    """Methods, and the checkpoints that the training began from, by their weights."""
    found: dict[str, Any] = {name: asdict(settings) for name, settings in recipe.methods.items()}
    for name, path in (("teacher", recipe.teacher), ("initial", recipe.initial.checkpoint)):
        if path:
            found[name] = {"folder": path, "sha256": files.sha256(Path(path) / "model.safetensors")}
    return found
