"""The instability of a threshold: how much its mean cost depends on the choice of images.

A threshold that cuts through the values of a gate that decides much leaves some images on the one side and
others on the other; images of another street or day then cost something else than the table says. Whether it
does shows within the calibration: the images are taken as FOLDS parts of neighbors (files of a data set lie in
the order in which they were taken, sequence after sequence), and each part's mean is held against the others'.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FOLDS = 5
# The largest error that a budget may have: less stable thresholds are left out, unless requested.
STEADY = 0.05


def instability(images: Sequence[float]) -> float | None:
    """Returns the largest relative distance of a part's mean from the mean of the other parts; None below FOLDS images.

    Args:
        images: the cost of each, above 0, in their order.
    """
    if len(images) < FOLDS:
        return None
    parts = np.array_split(np.asarray(images, np.float64), FOLDS)
    others = [np.concatenate([*parts[:i], *parts[i + 1 :]]).mean() for i in range(FOLDS)]
    return max(abs(float(part.mean() / other) - 1) for part, other in zip(parts, others, strict=True))
