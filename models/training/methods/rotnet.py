"""RotNet: which of four rotations an image has, as pretraining without labels. Source: arXiv 1803.07728.

Every epoch shows every image in all four rotations, which are of one augmented image and in one batch, as in the paper.
`optimizer.batch` counts rotations: four for an image.
"""

from __future__ import annotations

import torch
from msgspec import Struct
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.training.methods.base import Teacher, TrainingMethod
from adroit.models.training.methods.wrapped_task import WrappedTask
from adroit.models.training.tables import Recipe
from adroit.models.training.tasks import Task, device_of

ANGLES = ("0", "90", "180", "270")


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The table [rotnet]; the network has 4 classes.

    Attributes:
        together: all rotations of an image are in one batch (paper); or else each is augmented anew, and shuffled.
    """

    together: bool = True


class Rotations(WrappedTask):
    """Four training images of each one, whose class is its quarter turns counterclockwise; see Settings."""

    measure = "of the rotations of the images held out are right"

    def __init__(self, task: Task, together: bool = True) -> None:
        super().__init__(task, [f"{angle} degrees" for angle in ANGLES])
        self.views = len(ANGLES) * task.views if together else 1
        if task.input_size[0] != task.input_size[1]:
            raise UsageError(f"rotnet turns square inputs, and these are {task.input_size[0]} x {task.input_size[1]}")

    def __len__(self) -> int:
        return len(ANGLES) * len(self.inner)

    def sample(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns a rotated image and its quarter turns, 0 to 3; see Task.sample."""
        image, quarters = divmod(index, len(ANGLES))
        x, _ = self.inner.sample(image, generator)
        return torch.rot90(x, quarters, (1, 2)), torch.tensor(quarters)

    def evaluate(self, network: nn.Module) -> float:
        """Share of all rotations of the held-out images whose largest logit is theirs."""
        network.eval()
        device = device_of(network)
        right = total = 0
        with torch.inference_mode():
            for x in self.held_out():
                for quarters in range(len(ANGLES)):
                    predictions = network(torch.rot90(x, quarters, (2, 3)).to(device)).argmax(1)
                    right += int((predictions == quarters).sum())
                total += len(ANGLES) * len(x)
        return right / total


class RotNet(TrainingMethod):
    """See Rotations."""

    @classmethod
    def task(cls, settings: Settings, task: Task, recipe: Recipe, teacher: Teacher | None) -> Task:
        """Replaces the task's classes by rotations."""
        return Rotations(task, settings.together)


METHOD = RotNet
