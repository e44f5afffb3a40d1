"""Named tensors as data: an `.npz` that holds the inputs of a network by name, one row a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.errors import UsageError


@dataclass(frozen=True)
class TensorSet:
    """Samples of a network whose inputs are not one image.

    Attributes:
        arrays: by the names of the network's inputs, each [N,...]: one row a sample.
    """

    arrays: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def names(self) -> Sequence[str]:
        """A name for each sample: its number."""
        return [str(index) for index in range(len(self))]

    def first(self, count: int | None) -> TensorSet:
        """The first `count` samples (all if None)."""
        return TensorSet({name: array[:count] for name, array in self.arrays.items()})

    def batches(self, size: int) -> Iterator[tuple[slice, dict[str, NDArray[Any]]]]:
        """Runs of at most `size` samples, with their range."""
        for start in range(0, len(self), size):
            where = slice(start, min(start + size, len(self)))
            yield where, {name: np.ascontiguousarray(array[where]) for name, array in self.arrays.items()}


def archive_names(path: Path) -> set[str]:
    """The names of the arrays in an `.npz`; empty where it is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return set(archive.files)
    except Exception:  # a damaged archive makes NumPy and zlib raise almost anything; reading it says so
        return set()


def read_tensors(path: Path, inputs: Sequence[str]) -> TensorSet:
    """Reads the arrays `inputs` of an `.npz`.

    Raises:
        UsageError: no such file, a damaged one, an array that is missing, or arrays of different lengths.
    """
    if not path.is_file():
        raise UsageError(f"there is no such data: {path}", hint=_hint(inputs))
    if path.suffix != ".npz":
        raise UsageError(f"{path} is no .npz, and the inputs of this network are not images", hint=_hint(inputs))
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in inputs if name in archive.files}
            others = ", ".join(archive.files)
    except Exception as error:  # a damaged archive makes NumPy and zlib raise almost anything
        raise UsageError(f"cannot read {path}", facts={"reason": error}) from error
    missing = [name for name in inputs if not isinstance(arrays.get(name), np.ndarray)]
    if missing:
        raise UsageError(
            f"{path} has no array named {', '.join(missing)}", facts={"arrays": others}, hint=_hint(inputs)
        )
    return tensor_set(arrays, str(path))


def tensor_set(arrays: Mapping[str, NDArray[Any]], source: str) -> TensorSet:
    """Checks that all arrays have the same number of samples, at least one.

    Raises:
        UsageError: names `source` and the lengths.
    """
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise UsageError(
            f"{source}: every input has one row a sample, and at least one",
            facts={name: list(array.shape) for name, array in arrays.items()},
        )
    return TensorSet(dict(arrays))


def _hint(inputs: Sequence[str]) -> str:
    return f"give an .npz with the arrays {', '.join(inputs)}, one row a sample"
