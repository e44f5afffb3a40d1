"""The cost of images by their size, and its correlation with their loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adroit.deploy.routing.collect import RouteSample


@dataclass(frozen=True)
class SizeCost:
    """The number of images whose input is of `size` (height, width), and their mean operations."""

    size: tuple[int, int]
    images: int
    operations: float


def by_size(samples: Sequence[RouteSample]) -> list[SizeCost]:
    """Groups samples by size, smallest first."""
    costs: dict[tuple[int, int], list[int]] = {}
    for sample in samples:
        costs.setdefault(sample.size, []).append(sample.operations.total)
    ordered = sorted(costs.items(), key=lambda item: item[0][0] * item[0][1])
    return [SizeCost(size, len(totals), float(np.mean(totals))) for size, totals in ordered]


def loss_correlation(samples: Sequence[RouteSample]) -> float | None:
    """Correlates losses with operations (Pearson, -1 to 1): above 0 where hard images take more expensive routes.

    Only images of the most frequent size count, since operations grow with the pixels. None where fewer than three of
    them have a loss, or all have the same loss or operations.
    """
    sizes = by_size(samples)
    most_frequent = max(sizes, key=lambda cost: cost.images).size
    pairs = [(s.loss, s.operations.total) for s in samples if s.loss is not None and s.size == most_frequent]
    if len(pairs) < 3:
        return None
    losses, operations = np.array(pairs, np.float64).T
    if not losses.std() or not operations.std():
        return None
    return float(np.corrcoef(losses, operations)[0, 1])
