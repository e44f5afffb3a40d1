"""The 8-bit grid of a tensor: which real number each of its integers stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 255
# Smaller scales than any network needs, and still normal numbers in float32: of tensors that are all 0.
SMALLEST_SCALE = 1e-12


@dataclass(frozen=True)
class Grid:
    """uint8 q stands for scale * (q - zero_point); 0 is always on the grid, since padding is 0.

    Attributes:
        scale: a float32 number, above 0.
        zero_point: 0 to 255; 0 for a tensor without values below 0.
    """

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> Grid:
        """The grid that spans low to high, widened to hold 0 and moved by less than half a step to hold it exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32(max((high - low) / LEVELS, SMALLEST_SCALE)))
        return cls(scale, round(-low / scale))

    @property
    def low(self) -> float:
        """The smallest number on the grid."""
        return -self.zero_point * self.scale

    @property
    def high(self) -> float:
        """The largest number on the grid."""
        return (LEVELS - self.zero_point) * self.scale

    def quantize(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """The nearest integer of each value, as ONNX's QuantizeLinear but computed in float64."""
        steps = np.rint(np.asarray(values, np.float64) / self.scale) + self.zero_point
        integers: NDArray[np.uint8] = np.clip(steps, 0, LEVELS).astype(np.uint8)
        return integers

    def rounded(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The number on the grid that stands for each value, float64."""
        return (self.quantize(values).astype(np.float64) - self.zero_point) * self.scale
