"""How a training shows itself: a bar on a terminal, a line an epoch elsewhere, figures for TensorBoard."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adroit.errors import EnvironmentFault
from adroit.files import check_writable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from adroit.models.training.loop import Epoch
    from adroit.models.training.options import StepDone


class Progress(Protocol):
    """What a training calls as it goes on (models/training/options.py)."""

    def begin(self, done: int, steps: int) -> None:
        """Begins, or resumes after `done` of `steps`."""
        ...

    def step(self, step: StepDone) -> None:
        """Shows a finished step."""
        ...

    def epoch(self, epoch: Epoch) -> None:
        """Shows a finished epoch."""
        ...


def _line(epoch: Epoch) -> str:
    line = f"epoch {epoch.number}/{epoch.epochs}  loss {epoch.loss:.4f}"
    return line if epoch.accuracy is None else f"{line}  accuracy {epoch.accuracy:.2%}"


class _Lines:
    """A line an epoch on standard error."""

    def begin(self, done: int, steps: int) -> None:
        if done:
            print(f"resumed after step {done} of {steps}", file=sys.stderr, flush=True)

    def step(self, step: StepDone) -> None:
        """Nothing: a line is for an epoch."""

    def epoch(self, epoch: Epoch) -> None:
        print(_line(epoch), file=sys.stderr, flush=True)


class _Bar(_Lines):
    """A bar of all steps with the latest loss and the time that is left; epochs above it."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar, self._task = bar, bar.add_task("training", total=None, loss="")

    def begin(self, done: int, steps: int) -> None:
        super().begin(done, steps)
        self._bar.update(self._task, total=steps, completed=done)

    def step(self, step: StepDone) -> None:
        self._bar.update(self._task, completed=step.number, loss=f"loss {step.loss:.4f}")

    def epoch(self, epoch: Epoch) -> None:
        self._bar.console.print(_line(epoch), highlight=False)


class _Logged:
    """Passes everything on to `inner`, and writes figures for TensorBoard."""

    def __init__(self, inner: Progress, writer: Any) -> None:
        self._inner, self._writer, self._step = inner, writer, 0

    def begin(self, done: int, steps: int) -> None:
        self._inner.begin(done, steps)

    def step(self, step: StepDone) -> None:
        self._inner.step(step)
        self._step = step.number
        self._writer.add_scalar("loss", step.loss, step.number)
        self._writer.add_scalar("share of the learning rate", step.rate, step.number)

    def epoch(self, epoch: Epoch) -> None:
        self._inner.epoch(epoch)
        self._writer.add_scalar("loss of an epoch", epoch.loss, self._step)
        if epoch.accuracy is not None:
            self._writer.add_scalar("accuracy", epoch.accuracy, self._step)


@contextmanager
def open_progress(log: Path | None) -> Iterator[Progress]:
    """Opens what shows a training; `log` is TensorBoard's folder, or None.

    Raises:
        EnvironmentFault: tensorboard is not installed. UsageError: `log` cannot be written to.
    """
    with _shown() as progress:
        if log is None:
            yield progress
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise EnvironmentFault(
                "tensorboard is not installed", facts={"reason": error}, hint="pip install 'adroit-deploy[log]'"
            ) from error
        check_writable(log / "events")
        with SummaryWriter(str(log)) as writer:
            yield _Logged(progress, writer)


@contextmanager
def _shown() -> Iterator[Progress]:
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"), TimeRemainingColumn())
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar)
