"""The weights of an adder convolution on the grid of its input.

|x - w| factors into one scale and a difference of integers only where x and w share the scale, so the
grid of X serves W too. Weights outside X's range are clamped to its ends first, which is exact: for
every x on the grid and w above its largest number h, |x - w| = |x - h| + (w - h), and likewise below the
least. Behind a ReLU the least number is 0. What the clamp takes off is one constant for each output
channel, and goes into shift.

Source: one scale, arXiv 2101.10015, section 3.1; the clamp follows from the formula above.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.operators.grid import Grid


@dataclass(frozen=True)
class QuantizedWeights:
    """What QAdderConv2d takes for W, scale and shift.

    Attributes:
        weight: [M,C,kH,kW] uint8.
        scale, shift: [M] float32, in units of X's scale.
        clamped: the share of the weights outside X's range.
    """

    weight: NDArray[np.uint8]
    scale: NDArray[np.float32]
    shift: NDArray[np.float32]
    clamped: float

    def moved(self, bias: NDArray[np.float64]) -> QuantizedWeights:
        """The same weights with `bias` [M] added to shift."""
        return replace(self, shift=(self.shift.astype(np.float64) + bias).astype(np.float32))


def quantize_weights(
    weight: NDArray[np.float32], scale: NDArray[np.float32], shift: NDArray[np.float32], grid: Grid
) -> QuantizedWeights:
    """Quantizes W [M,C,kH,kW], scale [M] and shift [M] of AdderConv2d for an X on `grid`, in float64."""
    exact = weight.astype(np.float64)
    inside = np.clip(exact, grid.low, grid.high)
    constant = np.abs(exact - inside).sum((1, 2, 3))
    factor = scale.astype(np.float64)
    return QuantizedWeights(
        grid.quantize(inside),
        (factor * grid.scale).astype(np.float32),
        (shift.astype(np.float64) - factor * constant).astype(np.float32),
        float((exact != inside).mean()),
    )
