"""How much the mean cost at a threshold depends on which images it is of, told by the images at hand.

A threshold that cuts through the values of a gate that decides much leaves some images on the one side and
others on the other; images of another street or day then cost something else than the table says. Whether it
does shows within the calibration: the images are taken as FOLDS parts of neighbors (files of a data set lie in
the order in which they were taken, sequence after sequence), and each part's mean is held against the others'.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FOLDS = 5
# Settings that are not steadier than this are not offered, unless asked for: what a budget may be off.
STEADY = 0.05


def unsteadiness(images: Sequence[float]) -> float | None:
    """The largest relative distance of a part's mean from the mean of the other parts; None of fewer than FOLDS.

    Args:
        images: what each costs, above 0, in their order.
    """
    if len(images) < FOLDS:
        return None
    parts = np.array_split(np.asarray(images, np.float64), FOLDS)
    others = [np.concatenate([*parts[:i], *parts[i + 1 :]]).mean() for i in range(FOLDS)]
    return max(abs(float(part.mean() / other) - 1) for part, other in zip(parts, others, strict=True))
