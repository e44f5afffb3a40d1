"""How a training is run: nothing here decides the weights (but for rounding)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Accelerator(StrEnum):
    """What computes; AUTO is a GPU where there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class StepDone:
    """A finished step.

    Attributes:
        number, steps: 1 to all of the training. loss: of its batch. rate: share of the learning rate.
    """

    number: int
    steps: int
    loss: float
    rate: float


@dataclass(frozen=True)
class RunOptions:
    """For adroit.models.training.loop.train.

    Attributes:
        devices: processes, each with a device of its own (CPU: a process more).
        workers: processes that read and augment images, for each device; 0 does it in between.
        resume: go on where an interrupted training to the same folder stood; begins where there is none.
        keep_every: steps from one state for `resume` to the next; they are kept at the end of every epoch too.
        on_begin: called with the steps that are done and the number of all steps. on_step: called after each.
    """

    accelerator: Accelerator = Accelerator.AUTO
    devices: int = 1
    workers: int = 0
    resume: bool = False
    keep_every: int = 0
    on_begin: Callable[[int, int], None] | None = None
    on_step: Callable[[StepDone], None] | None = None
