"""How many operations an operator performs, in one place. Imports nothing heavy.

Columns are kept apart, so that adder layers are told honestly: an absolute difference is not a
multiply-add.
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
        return sum(getattr(self, f) for f in COLUMNS)


COLUMNS = tuple(f.name for f in dataclasses.fields(OperationCounts))


def adder_conv2d_counts(
    weight: Sequence[int], output: Sequence[int], residual: bool = False, relu: bool = False
) -> OperationCounts:
    """AdderConv2d and AdderConv2dAdd: W [M,C,kH,kW], Y [N,M,Ho,Wo]; scale and shift are elementwise."""
    elements = prod(output)
    return OperationCounts(
        absolute_differences=elements * prod(weight[1:]), elementwise=elements * (2 + int(residual) + int(relu))
    )


def quantized_adder_conv2d_counts(
    weight: Sequence[int], output: Sequence[int], residual: bool = False, relu: bool = False, quantized: bool = True
) -> OperationCounts:
    """QAdderConv2d and QAdderConv2dAdd: as adder_conv2d_counts, and per element the residual's zero point and
    scale, and the output's division, rounding, zero point and saturation."""
    counts = adder_conv2d_counts(weight, output, residual, relu)
    return counts + OperationCounts(elementwise=prod(output) * (2 * int(residual) + 4 * int(quantized)))


def convolution_counts(weight: Sequence[int], output: Sequence[int], bias: bool) -> OperationCounts:
    """Convolution, W [M,C/groups,kH,kW] and Y [N,M,Ho,Wo], or matrix product, W [M,K] and Y [N,M]."""
    elements = prod(output)
    return OperationCounts(multiply_adds=elements * prod(weight[1:]), elementwise=elements * int(bias))


def adaptive_filter_counts(logits: Sequence[int], output: Sequence[int], kernel_size: int) -> OperationCounts:
    """AdaptiveFilter: logits [N,G*k*k,Ho,Wo], Y [N,C,Ho,Wo]; what predicts the logits is a convolution of its own."""
    weights = prod(logits)
    # The softmax, for each logit: the maximum's comparison, difference, exponential, sum, division.
    return OperationCounts(multiply_adds=prod(output) * kernel_size**2, elementwise=4 * weights, transcendental=weights)


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
