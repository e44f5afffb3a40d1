"""The agreement of a deployment at one threshold with the full network and with labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adroit.models.metrics.segmentation import ConfusionMatrix


class ThresholdAgreement:
    """Counts equal and right pixels over any number of images.

    Args:
        classes: of the network; label maps hold this number where they are void.
    """

    def __init__(self, classes: int) -> None:
        self._matrix = ConfusionMatrix(classes, classes)
        self._equal = self._pixels = 0

    def add(self, classes: NDArray[np.int64], full: NDArray[np.int64], labels: NDArray[np.uint8] | None) -> None:
        """Adds the classes [H,W] of an image here and at threshold 0, and its label map if there is one.

        Raises:
            UsageError: labels that are no class.
        """
        self._equal += int((classes == full).sum())
        self._pixels += classes.size
        if labels is not None:
            self._matrix.add(classes, labels)

    @property
    def agreement(self) -> float:
        """The share of the pixels whose class is that of threshold 0."""
        return self._equal / self._pixels

    @property
    def accuracy(self) -> float | None:
        """The mean intersection over union, 0 to 1; None where no pixel had a label."""
        value = self._matrix.mean_intersection_over_union
        return None if np.isnan(value) else value
