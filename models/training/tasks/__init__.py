"""What can be learnt. A task knows its data, its labels and how well a network does; the loop does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.networks.architectures import architecture_named
from adroit.models.training.tables import Recipe


class Task(Protocol):
    """Data, loss and measure of one kind of network.

    Attributes:
        preprocessing, labels: for the checkpoint.
        ignored: the target value that counts for nothing, or None.
        measure: what `evaluate` returns, to be read after a percentage.
        input_size: height and width of the inputs that `sample` makes.
        views: so many consecutive samples are of one image: they come in one batch, with the same random numbers.
    """

    preprocessing: Preprocessing
    labels: Sequence[str]
    ignored: int | None
    measure: str
    input_size: tuple[int, int]
    views: int

    def __len__(self) -> int:
        """How many training images there are."""
        ...

    def sample(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """An augmented training image as input [C,H,W] float32 and its target.

        The target is a class (int64, [] or [H,W]), or a share of each class (float32, [K]). Called in
        worker processes: nothing but `index` and `generator` may decide what it returns.
        """
        ...

    def check_classes(self, classes: int) -> None:
        """Raises UsageError where a network of so many classes cannot learn this."""
        ...

    def training_inputs(self) -> Iterator[Tensor]:
        """All training images in their order as a deployment gets them, [n,C,H,W] float32, not augmented."""
        ...

    def held_out(self) -> Iterator[Tensor]:
        """The held-out inputs as a deployment gets them, [n,C,H,W] float32, not augmented."""
        ...

    def evaluate(self, network: nn.Module) -> float:
        """The measure on the held-out images, 0 to 1; leaves the network in evaluation mode."""
        ...

    def figures(self, network: nn.Module) -> Mapping[str, float]:
        """Measures at the end what else the recipe names, by name."""
        ...


def task_of(recipe: Recipe) -> Task:
    """Opens the recipe's data.

    Raises:
        UsageError: data that is missing, unreadable, unlabeled or of other classes than the network's; a network
            that is for something else.
    """
    from adroit.models.training.tasks.classification import Classification
    from adroit.models.training.tasks.segmentation import Segmentation

    kinds: dict[str, Callable[[Recipe], Task]] = {"classification": Classification, "segmentation": Segmentation}
    architecture = architecture_named(recipe.architecture)
    if architecture.task not in kinds:
        raise UsageError(
            f"{architecture.name} is for {architecture.task}, and adroit trains {' and '.join(kinds)}",
            hint="train it with your own code, and `adroit export` it",
        )
    return kinds[architecture.task](recipe)


def device_of(network: nn.Module) -> torch.device:
    """Where its parameters are."""
    return next(network.parameters()).device
