"""What every runtime offers: specifications, run, close."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import UsageError

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: NumPy's name of its dtype; dimensions are integers, or names where they are free."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join(map(str, self.shape))}]"

    def check(self, array: NDArray[Any]) -> None:
        """Raises UsageError where `array` is not of this specification."""
        fits = len(array.shape) == len(self.shape) and all(
            wanted == got for wanted, got in zip(self.shape, array.shape, strict=True) if isinstance(wanted, int)
        )
        if not fits or array.dtype != np.dtype(self.dtype) or array.size == 0:
            raise UsageError(f"input {self.name} is {array.dtype} {list(array.shape)}, expected {self}")


class Runtime(ABC):
    """A loaded deployment. Use it as a context manager, or call `close`."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What ran: versions, threads, provider, instruction set; JSON values."""

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """All outputs by name for inputs by name.

        Raises:
            UsageError: a missing, unknown or misshapen input.
        """
        if set(feeds) != {s.name for s in self.inputs}:
            raise UsageError(f"inputs are {', '.join(s.name for s in self.inputs)}, got {', '.join(feeds) or 'none'}")
        for spec in self.inputs:
            spec.check(feeds[spec.name])
        return self._run(feeds)

    @abstractmethod
    def _run(self, feeds: Tensors) -> dict[str, NDArray[Any]]: ...

    def close(self) -> None:  # noqa: B027  (nothing to do is a right answer)
        """Frees what the runtime holds; it cannot run afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
