"""Output sizes of the operators, in one place. Imports nothing, so that any tool may use it."""

from __future__ import annotations

from typing import TypeVar

Size = TypeVar("Size", bound=int)


def convolved_size(size: Size, kernel: int, stride: int, pad_begin: int, pad_end: int) -> Size:
    """Positions of a sliding window along one dimension: floor((size + pads - kernel) / stride) + 1.

    Works on plain integers and on torch's symbolic ones.
    """
    return (size + pad_begin + pad_end - kernel) // stride + 1  # type: ignore[return-value]


def kept_size(size: Size, stride: int) -> Size:
    """Positions along one dimension whose index is a multiple of the stride: ceil(size / stride)."""
    return (size + stride - 1) // stride  # type: ignore[return-value]
