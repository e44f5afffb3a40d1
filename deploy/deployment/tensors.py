"""The inputs and outputs of a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from adroit.errors import UsageError

Tensors = Mapping[str, NDArray[Any]]


class TensorSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output: NumPy's name of its dtype; dimensions are integers, or names where they are free."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join(map(str, self.shape))}]"

    def check(self, array: NDArray[Any]) -> None:
        """Raises UsageError where `array` is not of this specification."""
        fits = len(array.shape) == len(self.shape) and all(
            expected == size
            for expected, size in zip(self.shape, array.shape, strict=True)
            if isinstance(expected, int)
        )
        if not fits or array.dtype != np.dtype(self.dtype) or array.size == 0:
            raise UsageError(f"input {self.name} is {array.dtype} {list(array.shape)}, expected {self}")
