"""Training images in their random order, batch by batch, the same however many workers make them.

The order of an epoch follows from the seed and the epoch; what happens to an image, from the seed, the
epoch and the image. So no state of a generator has to be kept to go on in the middle of an epoch.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from adroit.errors import AdroitError, EnvironmentFault, OutOfResource, UsageError
from adroit.models.training.tables import OptimizerRecipe
from adroit.models.training.tasks import Task

# Epoch (0: those that recompute batch-norm statistics) and index of an image.
Key = tuple[int, int]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Division:
    """How a step's batch is divided: among `processes`, and each one's share into `parts` one after the other.

    Attributes:
        process: which of them this is.
    """

    parts: int = 1
    processes: int = 1
    process: int = 0

    def own(self, keys: list[Key]) -> list[list[Key]]:
        """This process's parts of a batch; all of one size."""
        size = len(keys) // (self.parts * self.processes)
        places = [(part * self.processes + self.process) * size for part in range(self.parts)]
        return [keys[place : place + size] for place in places]


def steps_of_epoch(images: int, settings: OptimizerRecipe, views: int = 1) -> int:
    """Whole batches that the images give; raises UsageError where there is none, or one would part an image's views."""
    if settings.batch % views:
        raise UsageError(
            f"optimizer.batch is {settings.batch}, and every image comes {views} times in one batch",
            hint=f"set a multiple of {views} in the recipe's [optimizer]",
        )
    if images < settings.batch:
        raise UsageError(
            f"optimizer.batch is {settings.batch}, and there are {images} training images",
            hint="set a smaller batch in the recipe's [optimizer]",
        )
    return images // settings.batch


def generator_of(*numbers: int) -> torch.Generator:
    """One whose seed is mixed from all the numbers."""
    (seed,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed))


class _Samples(Dataset[Batch | AdroitError]):
    def __init__(self, task: Task, seed: int) -> None:
        self._task, self._seed = task, seed

    def __getitem__(self, key: Key) -> Batch | AdroitError:
        epoch, index = key
        try:
            return self._task.sample(index, generator_of(self._seed, 1, epoch, index // self._task.views))
        except AdroitError as error:
            return error  # raised by the loop: a worker's exception would lose its facts


class _Order(Sampler[list[Key]]):
    """The keys of every part of every batch from `first` (a step of the whole training) to `last`."""

    def __init__(
        self, images: int, views: int, batch: int, seed: int, division: Division, first: int, last: int
    ) -> None:
        self._images, self._views, self._batch, self._seed, self._division = images, views, batch, seed, division
        self._first, self._last = first, last

    def __len__(self) -> int:
        return (self._last - self._first) * self._division.parts

    def __iter__(self) -> Iterator[list[Key]]:
        steps = self._images // self._batch
        order: list[int] = []
        for step in range(self._first, self._last):
            epoch, place = step // steps + 1, step % steps * self._batch
            if not order or place == 0:
                order = _shuffled(self._images, self._views, generator_of(self._seed, 0, epoch))
            yield from self._division.own([(epoch, index) for index in order[place : place + self._batch]])


def _shuffled(images: int, views: int, generator: torch.Generator) -> list[int]:
    """All indices in random order, but that each `views` consecutive ones, from a multiple of it on, stay together."""
    first = views * torch.randperm(images // views, generator=generator)
    order: list[int] = (first[:, None] + torch.arange(views)).flatten().tolist()
    return order


def _collated(samples: list[Batch | AdroitError]) -> Batch | AdroitError:
    pairs = []
    for sample in samples:
        if isinstance(sample, AdroitError):
            return sample
        pairs.append(sample)
    x, y = (torch.stack(part) for part in zip(*pairs, strict=True))
    return x, y


def _check_shared_memory() -> None:
    """Processes pass images through /dev/shm, which small containers lack or cannot write to.

    Raises:
        EnvironmentFault: they cannot here.
    """
    try:
        multiprocessing.get_context("fork").Lock()
    except OSError as error:
        raise EnvironmentFault(
            "images cannot be read by workers here: shared memory (/dev/shm) cannot be used",
            facts={"reason": error.strerror},
            hint="give --workers 0, or the container a /dev/shm",
        ) from error


class Batches:
    """The training's batches.

    Args:
        workers: processes that read and augment; 0 does it in this one.
    """

    def __init__(self, task: Task, settings: OptimizerRecipe, seed: int, division: Division, workers: int) -> None:
        self._images, self._views, self._settings, self._seed = len(task), task.views, settings, seed
        self._division = division
        self._samples, self._workers = _Samples(task, seed), workers

    def steps(self, first: int, last: int) -> Iterator[list[Batch]]:
        """The parts of each step, counted from the beginning of the training.

        Raises:
            AdroitError: what a sample raises. OutOfResource: a worker that was ended from outside.
        """
        order = _Order(self._images, self._views, self._settings.batch, self._seed, self._division, first, last)
        parts = self._loaded(order)
        while step := list(itertools.islice(parts, self._division.parts)):
            yield step

    def statistics_inputs(self) -> Iterator[Tensor]:
        """Inputs of `precise_batch_norm` batches (this process's own parts of them)."""
        keys: list[Key] = []
        settings = self._settings
        generator = generator_of(self._seed, 2)
        while len(keys) < settings.precise_batch_norm * settings.batch:
            keys += [(0, index) for index in _shuffled(self._images, self._views, generator)]
        batches = [keys[i * settings.batch : (i + 1) * settings.batch] for i in range(settings.precise_batch_norm)]
        return (x for x, _ in self._loaded([part for batch in batches for part in self._division.own(batch)]))

    def _loaded(self, order: Sampler[list[Key]] | list[list[Key]]) -> Iterator[Batch]:
        if self._workers:
            _check_shared_memory()
        loader: DataLoader[Batch | AdroitError] = DataLoader(
            self._samples,
            batch_sampler=order,
            num_workers=self._workers,
            collate_fn=_collated,
            multiprocessing_context="fork" if self._workers else None,  # images are read by functions, which stay here
            generator=torch.Generator(),  # or it draws from the global one, in which a resumed training is further on
        )
        try:
            for batch in loader:
                if isinstance(batch, AdroitError):
                    raise batch
                yield batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise OutOfResource(
                "a worker that reads images was ended", facts={"reason": error}, hint="give fewer --workers"
            ) from error
