"""A task's images with other targets: what self-supervision is taught."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.training.tasks import Task


class WrappedTask:
    """See Task: the inner one's, but for what a subclass says.

    Args:
        task: the inner one. labels: names of the new classes.
    """

    measure = ""

    def __init__(self, task: Task, labels: Sequence[str]) -> None:
        self.inner = task
        self.labels: Sequence[str] = list(labels)
        self.preprocessing: Preprocessing = task.preprocessing
        self.ignored: int | None = None
        self.input_size = task.input_size
        self.views = task.views

    def __len__(self) -> int:
        return len(self.inner)

    def sample(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See Task.sample; a subclass says what it returns."""
        raise NotImplementedError

    def check_classes(self, classes: int) -> None:
        """Raises UsageError where the network has another number of classes than the new labels."""
        if classes != len(self.labels):
            raise UsageError(
                f"there are {len(self.labels)} classes to be learnt, and the network has {classes}",
                facts={"classes": f"{self.labels[0]} to {self.labels[-1]}"},
                hint=f"set classes = {len(self.labels)} in the recipe's [arguments]",
            )

    def training_inputs(self) -> Iterator[Tensor]:
        """The inner task's; see Task.training_inputs."""
        return self.inner.training_inputs()

    def held_out(self) -> Iterator[Tensor]:
        """The inner task's; see Task.held_out."""
        return self.inner.held_out()

    def evaluate(self, network: nn.Module) -> float:
        """See Task.evaluate; a subclass measures its own classes."""
        raise NotImplementedError

    def figures(self, network: nn.Module) -> Mapping[str, float]:
        """None: the inner task's are of its own classes."""
        return {}
