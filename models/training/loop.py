"""The training loop: any task, any network, any method."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from adroit import files
from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import CheckpointConfig, check_checkpoint_folder, save_checkpoint
from adroit.models.training.assembly import assemble
from adroit.models.training.device import agreed, gathered, processes, start_fabric
from adroit.models.training.initial import set_training_mode
from adroit.models.training.optimizer import rate_factor
from adroit.models.training.options import RunOptions, StepDone
from adroit.models.training.state import Position, random_state, read_state, save_state, state_path
from adroit.models.training.stepper import Stepper
from adroit.models.training.tables import Recipe

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
        architecture: name of the network.
    """

    accuracy: float
    measure: str
    figures: Mapping[str, float]
    architecture: str


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
    with processes(fabric):
        training = _Training(fabric, recipe, folder, report, options)
        training.run()
        training.recompute_statistics()
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
        self._assembly = assemble(fabric, recipe, options.workers)
        self._speaks = fabric.global_rank == 0
        self._origins = _origins(recipe)
        images, processes = len(self._assembly.task), fabric.world_size
        counts = {"training images": images, "processes": processes}
        self._about = {**msgspec.to_builtins(recipe), "checkpoints": self._origins, **counts}

    def run(self) -> None:
        """All steps that are not done yet."""
        assembly, options, settings = self._assembly, self._options, self._recipe.optimizer
        total = settings.epochs * assembly.steps
        step = Stepper(self._fabric, assembly, total)
        position = self._begin()
        losses = position.losses
        if options.on_begin and self._speaks:
            options.on_begin(position.step, total)
        set_training_mode(assembly.network, self._recipe.initial.trainable == "head")
        batches = assembly.batches.steps(position.step, total)
        for done in range(position.step + 1, total + 1):
            loss = step(agreed(self._fabric, lambda: next(batches)), done)
            losses += loss
            ends_epoch = done % assembly.steps == 0
            if options.on_step and self._speaks:
                options.on_step(StepDone(done, total, loss, rate_factor(settings, (done - 1) / total)))
            if ends_epoch:
                self._end_epoch(done // assembly.steps, losses / assembly.steps)
                losses = 0.0
            if ends_epoch or (options.keep_every and done % options.keep_every == 0):
                self._keep(Position(done, losses))

    def _end_epoch(self, number: int, loss: float) -> None:
        epochs = self._recipe.optimizer.epochs
        measured = number % self._recipe.evaluation.every == 0 and number < epochs
        if self._speaks:
            accuracy = self._assembly.task.evaluate(self._assembly.network) if measured else None
            self._report(Epoch(number, epochs, loss, accuracy))
        self._fabric.barrier()
        set_training_mode(self._assembly.network, self._recipe.initial.trainable == "head")

    def _begin(self) -> Position:
        path = state_path(self._folder)
        if not path.exists():
            return Position()
        if not self._options.resume:
            raise UsageError(
                f"{path} holds an interrupted training", hint="give --resume to go on with it, or delete it"
            )
        return read_state(path, self._about, self._assembly.parts, self._fabric.global_rank)

    def _keep(self, position: Position) -> None:
        randoms = gathered(self._fabric, random_state())
        if self._speaks:
            save_state(state_path(self._folder), self._about, position, self._assembly.parts, randoms)

    def recompute_statistics(self) -> None:
        """Gives batch norms the statistics of the finished weights."""
        if self._recipe.optimizer.precise_batch_norm:
            device, batches = self._fabric.device, self._assembly.batches
            self._assembly.learner.recompute_statistics(x.to(device) for x in batches.statistics_inputs())

    def finish(self, recipe_text: str) -> Trained:
        """Measures the network and writes the checkpoint."""
        recipe, task, network = self._recipe, self._assembly.task, self._assembly.network
        methods = self._assembly.methods.values()
        figures = {**task.figures(network), **self._assembly.learner.figures(task.held_out())}
        for method in methods:
            figures |= method.figures(network)
        for method in methods:
            method.finish(network)
        trained = Trained(task.evaluate(network), task.measure, figures, recipe.architecture)
        source = {
            "recipe_sha256": hashlib.sha256(recipe_text.encode()).hexdigest(),
            "data": {name: value for name, value in msgspec.structs.asdict(recipe.data).items() if value},
            "seed": recipe.seed,
            **self._origins,
            "accuracy": trained.accuracy,
            **figures,
        }
        config = CheckpointConfig(
            recipe.architecture, task.preprocessing, dict(recipe.arguments), list(task.labels), source
        )
        save_checkpoint(self._folder, network.eval().cpu(), config)
        return trained


def _origins(recipe: Recipe) -> dict[str, Any]:
    """Methods, and the checkpoints that the training began from, by their weights."""
    origins: dict[str, Any] = {name: msgspec.to_builtins(settings) for name, settings in recipe.methods.items()}
    for name, path in (("teacher", recipe.teacher), ("initial", recipe.initial.checkpoint)):
        if path:
            origins[name] = {"folder": path, "sha256": files.sha256(Path(path) / "model.safetensors")}
    return origins
