"""Tensors of a deployment: what its inputs and outputs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.errors import UsageError

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
