"""The limit of a correct implementation's distance from the exact result.

The limit follows the arithmetic, not a constant:

    limit = u_out * |y| + c * g(K) * u_accumulator * A

u is the unit round-off of the output's and the accumulator's type, K the number of terms of the
sum, A the same operator evaluated on absolute values in float64 (so cancellation is paid for and
nothing else), g(K) = sqrt(K) because rounding errors are independent enough, and c = 4. The
reference y is computed in float64 from the inputs as already rounded, so that the rounding of the
input is not blamed on the implementation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Values = TypeVar("Values", Array, "Tensor")

SAFETY = 4.0
UNIT_ROUNDOFF = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}


def rounding_limit(
    reference: Values, magnitude: Values, terms: int, output: str = "float32", accumulator: str = "float32"
) -> Values:
    """Returns the limit of one operator, element by element, in the reference's unit.

    Args:
        reference: y in float64, of NumPy or PyTorch.
        magnitude: A, of y's shape: the sum of the absolute values of all that was added.
        terms: K, the number of terms added.
        output, accumulator: keys of UNIT_ROUNDOFF.
    """
    sums = SAFETY * math.sqrt(terms) * UNIT_ROUNDOFF[accumulator] * magnitude
    return UNIT_ROUNDOFF[output] * abs(reference) + sums


@dataclass(frozen=True)
class Comparison:
    """One tensor of a deployment against its float64 reference.

    Attributes:
        used: the largest error as a share of its limit; above 1 the deployment is wrong.
        worst: index of that element. error, limit, reference, value: its numbers.
        above_half: share of the elements that use more than half their limit.
        elements: how many were compared.
    """

    used: float
    worst: tuple[int, ...]
    error: float
    limit: float
    reference: float
    value: float
    above_half: float
    elements: int

    @property
    def passed(self) -> bool:
        """Whether every element is within its limit."""
        return self.used <= 1.0


def compare(value: NDArray[np.floating], reference: Array, limit: Array) -> Comparison:
    """Compares element by element; all three have one shape. NaN or a wrong shape uses an infinite share.

    An infinite value is right where the reference is the same.
    """
    if value.shape != reference.shape:
        return Comparison(float("inf"), (), float("inf"), 0.0, float("nan"), float("nan"), 1.0, int(reference.size))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(value == reference, 0.0, np.abs(value.astype(np.float64) - reference))
        share = np.where(error == 0.0, 0.0, error / limit)
    share = np.where(np.isnan(share), np.inf, share)
    flat = int(share.argmax())
    worst = tuple(int(i) for i in np.unravel_index(flat, share.shape))
    return Comparison(
        float(share[worst]),
        worst,
        float(error[worst]),
        float(limit[worst]),
        float(reference[worst]),
        float(value[worst]),
        float((share > 0.5).mean()),
        int(share.size),
    )


# Relative error of one exponential, in units of round-off: what a fast vector form may lose.
EXPONENTIAL_ROUNDOFFS = 4.0


def softmax_limit(logits: Array, axis: int | tuple[int, ...], accumulator: str = "float32") -> Array:
    """Returns the limit of the weights softmax(logits), element by element.

    The difference to the largest logit is rounded once, which the exponential turns into a relative
    error of that difference's size; then come the exponential's own error and the sum's. Weights
    too small for a normal number may be lost altogether.

    Args:
        logits: float64, as already rounded. axis: over which the weights sum to 1.
        accumulator: a key of UNIT_ROUNDOFF; the type that the softmax is computed in.
    """
    shifted = logits - logits.max(axis, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis, keepdims=True)
    terms = exponentials.size / total.size
    roundoffs = np.abs(np.maximum(shifted, -1e3)) + EXPONENTIAL_ROUNDOFFS + SAFETY * np.sqrt(terms)
    smallest_normal = float(np.finfo(accumulator).smallest_normal)
    return np.asarray(UNIT_ROUNDOFF[accumulator] * roundoffs * exponentials / total + smallest_normal)
