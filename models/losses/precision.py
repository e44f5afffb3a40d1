"""What losses compute in, whatever mixed precision does around them."""

from __future__ import annotations

from torch import Tensor, float64


def in_float32(x: Tensor) -> Tensor:
    """x in float32, or as it is in float64: the short types hold neither long sums nor small probabilities."""
    return x if x.dtype == float64 else x.float()
