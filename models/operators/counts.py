"""Operation counts, and the formulas that networks and the toolchain share. Imports nothing heavy.

Columns are apart, so that adder layers are counted honestly: an absolute difference is not a multiply-add.
Formulas of the toolchain's operators are in deploy/operators/.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class OperationCounts:
    """Operations of a layer or a network.

    Attributes:
        multiply_adds: a product and its accumulation count as one.
        absolute_differences: an adder tap, |x - w| and its accumulation, counts as one.
        elementwise: additions, products, comparisons and scalings outside those sums.
        transcendental: exponentials, tanh and the like.
    """

    multiply_adds: int = 0
    absolute_differences: int = 0
    elementwise: int = 0
    transcendental: int = 0

    def __add__(self, other: OperationCounts) -> OperationCounts:
        return OperationCounts(*(getattr(self, f) + getattr(other, f) for f in COLUMNS))

    @property
    def total(self) -> int:
        """All operations together."""
        return sum(getattr(self, f) for f in COLUMNS)


COLUMNS = tuple(f.name for f in dataclasses.fields(OperationCounts))


def convolution_counts(weight: Sequence[int], output: Sequence[int], bias: bool) -> OperationCounts:
    """Convolution, W [M,C/groups,kH,kW] and Y [N,M,Ho,Wo], or matrix product, W [M,K] and Y [N,M]."""
    elements = prod(output)
    return OperationCounts(multiply_adds=elements * prod(weight[1:]), elementwise=elements * int(bias))


def bilinear_counts(output: Sequence[int]) -> OperationCounts:
    """Bilinear interpolation to [N,C,Ho,Wo]: four taps an element."""
    return OperationCounts(multiply_adds=4 * prod(output))


def routing_gate_counts(x: Sequence[int], hidden: int, paths: int, shrink: int) -> OperationCounts:
    """RoutingGate: X [N,C,H,W], W1 [hidden,C], W2 [paths,hidden]; shrink 1 or 4."""
    batch, channels = x[:2]
    positions = prod(side // shrink for side in x[2:])
    shrinking = 4 * channels * positions if shrink > 1 else 0
    counts = convolution_counts((hidden, channels), (batch, hidden, positions), bias=True)
    counts += convolution_counts((paths, hidden), (batch, paths), bias=True)
    # ReLU and the mean's sum of every hidden element; ReLU and the comparison of every path.
    elementwise = batch * (shrinking + 2 * hidden * positions + 2 * paths)
    return counts + OperationCounts(elementwise=elementwise, transcendental=batch * paths)
