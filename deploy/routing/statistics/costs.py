"""The cost of images: by the size of the batch, by the size of the image, and beside their loss.

In a batch a path runs for all images as soon as one of them needs it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.collect import RouteSample, deployment_costs
from adroit.models.routing.route import Route

BATCHES = (1, 2, 4, 8, 16)
# Minimum of random batches of each size; whole shuffles of the images are used up.
DRAWS = 200


@dataclass(frozen=True)
class BatchCost:
    """The operations of one image in a batch of `batch` images.

    Attributes:
        operations: mean over `draws` random batches of images of one size; at batch 1, over every image once.
        ratio: `operations` / operations of the same images alone.
        draws: how many batches were drawn.
    """

    batch: int
    operations: float
    ratio: float
    draws: int


def batch_costs(deployment: Deployment, samples: Sequence[RouteSample], seed: int = 0) -> list[BatchCost]:
    """Estimates the cost at each of BATCHES, from the images themselves, whose routes resemble each other.

    A batch larger than the number of images of every size is left out.
    """
    random = np.random.default_rng(seed)
    groups: dict[tuple[int, int], list[RouteSample]] = defaultdict(list)
    for sample in samples:
        groups[sample.size].append(sample)
    result = []
    for batch in BATCHES:
        usable = {size: group for size, group in groups.items() if len(group) >= batch}
        if not usable:
            break
        costs: list[float] = []
        while len(costs) < (1 if batch == 1 else DRAWS):
            for size, group in usable.items():
                table, order = deployment_costs(deployment, size), random.permutation(len(group))
                for start in range(0, len(group) - batch + 1, batch):
                    needed = Route.union([group[i].route for i in order[start : start + batch]])
                    costs.append(table.of_route(needed).total)
        alone = np.mean([sample.operations.total for group in usable.values() for sample in group])
        result.append(BatchCost(batch, float(np.mean(costs)), float(np.mean(costs) / alone), len(costs)))
    return result


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
