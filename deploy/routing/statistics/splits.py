"""What an image's cost goes with: its size, and how hard it is for the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adroit.deploy.routing.collect import RouteSample


@dataclass(frozen=True)
class SizeCost:
    """Of the images whose input is of `size` (height, width): how many, and their mean operations."""

    size: tuple[int, int]
    images: int
    operations: float


def by_size(samples: Sequence[RouteSample]) -> list[SizeCost]:
    """From the smallest on."""
    costs: dict[tuple[int, int], list[int]] = {}
    for sample in samples:
        costs.setdefault(sample.size, []).append(sample.operations.total)
    ordered = sorted(costs.items(), key=lambda item: item[0][0] * item[0][1])
    return [SizeCost(size, len(found), float(np.mean(found))) for size, found in ordered]


def loss_correlation(samples: Sequence[RouteSample]) -> float | None:
    """Of images' losses and operations, -1 to 1 (Pearson): above 0 where hard images take the dearer routes.

    Over the images of the commonest size, since operations grow with the pixels. None where fewer than three of
    them have a loss, or all have the same loss or operations.
    """
    sizes = by_size(samples)
    commonest = max(sizes, key=lambda cost: cost.images).size
    pairs = [(s.loss, s.operations.total) for s in samples if s.loss is not None and s.size == commonest]
    if len(pairs) < 3:
        return None
    losses, operations = np.array(pairs, np.float64).T
    if not losses.std() or not operations.std():
        return None
    return float(np.corrcoef(losses, operations)[0, 1])
