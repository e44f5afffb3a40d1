"""The drift of gate values: the distance of their distribution from that of the calibration.

    drift = Drift({0.0: counts_of_the_calibration})
    drift.add(0.0, gates_of_an_image)
    drift.index()   # below 0.1: as calibrated; above 0.25: other images, or a broken camera

Other gate values send images along other routes than those that the budget table was measured on, so its costs and
its agreement no longer hold. Imports no torch: serving uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.budget_table import GATE_BINS as BINS

# Images that the rolling distribution remembers: a share of 1 / e is older than so many.
WINDOW = 256
# Before so many images, chance alone would look like drift.
MINIMUM_IMAGES = 32


def gate_counts(gates: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Counts the gates, of any shape and from 0 to 1, in each bin: [BINS]."""
    bins = np.minimum(np.ceil(10.0 * np.asarray(gates, np.float64).ravel()), BINS - 1)
    return np.bincount(bins.astype(np.int64), minlength=BINS)


def stability_index(expected: NDArray[Any], measured: NDArray[Any]) -> float:
    """Returns the population stability index of two histograms, [BINS]: sum of (m - e) ln(m / e) over the shares.

    Half a count is added to every bin, so that an empty one is no infinity.
    """
    e, m = ((0.5 + counts) / (0.5 * len(counts) + counts.sum()) for counts in (expected, measured))
    return float(((m - e) * np.log(m / e)).sum())


class Drift:
    """A rolling distribution of gate values beside the one that the calibration predicts.

    A threshold closes gates, and later layers see other maps. So an image is compared with the calibration at
    its own threshold, and images at several thresholds with the same mixture of calibrations.

    Args:
        calibrated: counts [BINS] by the thresholds of the budget table.
    """

    def __init__(self, calibrated: Mapping[float, Sequence[int]]) -> None:
        self._shares = {np.float32(t): np.array(counts) / sum(counts) for t, counts in calibrated.items()}
        self._expected, self._measured = np.zeros(BINS), np.zeros(BINS)
        self._images = 0

    def add(self, threshold: float, gates: NDArray[np.floating[Any]]) -> None:
        """Adds the gates of one image, [paths]; ignored at a threshold that is not in the table."""
        share = self._shares.get(np.float32(threshold))
        if share is None:
            return
        keep = 1.0 - 1.0 / WINDOW
        self._expected = keep * self._expected + share * gates.size
        self._measured = keep * self._measured + gate_counts(gates)
        self._images += 1

    def index(self) -> float:
        """Returns the stability index of the last images; NaN before MINIMUM_IMAGES of them."""
        return stability_index(self._expected, self._measured) if self._images >= MINIMUM_IMAGES else float("nan")
