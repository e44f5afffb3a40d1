"""A batch norm in evaluation as a product and a sum, so that the operator before it can hold them.

Computed in float64 and rounded once by the caller: the product of two float32 roundings would miss the tolerances of
sums that are large beside their spread, such as those of adder convolutions. Imports nothing heavy.
"""

from __future__ import annotations

from typing import Any, TypeVar

# A NumPy array or a torch tensor of float64, [channels].
Vector = TypeVar("Vector", bound=Any)


def norm_factor_and_offset(
    weight: Vector, bias: Vector, mean: Vector, variance: Vector, epsilon: float
) -> tuple[Vector, Vector]:
    """Returns (factor, offset) so that the norm of s is factor * s + offset.

    That is weight * (s - mean) / sqrt(variance + epsilon) + bias (arXiv 1502.03167, algorithm 2).

    Args:
        weight, bias, mean, variance: [channels], float64: NumPy arrays or torch tensors.
        epsilon: what the norm adds to the variance.
    """
    factor = weight / (variance + epsilon) ** 0.5
    return factor, bias - mean * factor
