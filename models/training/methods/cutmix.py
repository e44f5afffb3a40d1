"""CutMix: a rectangle of one image in another, and their targets mixed by area. Source: arXiv 1905.04899.

Drawn as its official code does: the area from an even distribution (Beta(1, 1)), the center anywhere, what lies outside
is lost, and the targets follow the area that is left.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adroit.models.training.augmentation import integer, uniform


def drawn_box(height: int, width: int, generator: torch.Generator) -> tuple[slice, slice]:
    """Rows and columns of the rectangle; it may be empty."""
    side = math.sqrt(1.0 - uniform(generator, 0.0, 1.0))
    spans = []
    for length in (height, width):
        center, half = integer(generator, length), int(length * side) // 2
        spans.append(slice(max(0, center - half), min(length, center + half)))
    return spans[0], spans[1]


def mixed(
    one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Image [C,H,W] and target [K] (float32 shares) of `one` with a rectangle of `other`'s, both of one size."""
    (x, y), (other_x, other_y) = one, other
    rows, columns = drawn_box(x.shape[1], x.shape[2], generator)
    x = x.clone()
    x[:, rows, columns] = other_x[:, rows, columns]
    share = (rows.stop - rows.start) * (columns.stop - columns.start) / (x.shape[1] * x.shape[2])
    return x, (1.0 - share) * y + share * other_y
