"""Mean intersection over union."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adroit.errors import UsageError


class ConfusionMatrix:
    """Counts pixels by true and predicted class over any number of images.

    Args:
        classes: how many there are.
        ignored: the label of pixels that count for nothing; None if all count.

    Attributes:
        counts: [classes,classes] int64; rows are true classes, columns predicted ones.
    """

    def __init__(self, classes: int, ignored: int | None = None) -> None:
        self.counts: NDArray[np.int64] = np.zeros((classes, classes), np.int64)
        self.ignored = ignored

    def add(self, predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> None:
        """Adds maps of one shape.

        Raises:
            UsageError: shapes that differ, or values that are no class.
        """
        if predicted.shape != labels.shape:
            raise UsageError(f"predicted classes have shape {list(predicted.shape)}, labels {list(labels.shape)}")
        counted = np.ones(labels.shape, bool) if self.ignored is None else labels != self.ignored
        classes = len(self.counts)
        true, predictions = labels[counted].astype(np.int64), predicted[counted].astype(np.int64)
        for name, values in (("labels", true), ("predicted classes", predictions)):
            if values.size and (values.min() < 0 or values.max() >= classes):
                raise UsageError(f"{name} hold {values.min()} to {values.max()}, and there are {classes} classes")
        self.counts += np.bincount(true * classes + predictions, minlength=classes**2).reshape(classes, classes)

    @property
    def intersection_over_union(self) -> NDArray[np.float64]:
        """[classes]: pixels that are and are called a class / pixels that are or are called it; NaN where none."""
        both = self.counts.diagonal().astype(np.float64)
        either = self.counts.sum(0) + self.counts.sum(1) - self.counts.diagonal()
        shares: NDArray[np.float64] = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
        return shares

    @property
    def mean_intersection_over_union(self) -> float:
        """Over the classes that occur, in labels or predictions; NaN if nothing was counted."""
        shares = self.intersection_over_union
        return float(shares[~np.isnan(shares)].mean()) if (~np.isnan(shares)).any() else float("nan")


def mean_cross_entropy(logits: NDArray[np.float32], labels: NDArray[np.uint8]) -> float | None:
    """Mean cross entropy of an image's pixels; None where none has a label.

    Args:
        logits: [classes,H,W]. labels: [H,W]; `classes` and above is void.
    """
    labeled = labels < len(logits)
    if not labeled.any():
        return None
    values = logits[:, labeled].astype(np.float64)
    values -= values.max(0)
    right = np.take_along_axis(values, labels[labeled][None].astype(np.int64), 0)[0]
    return float((np.log(np.exp(values).sum(0)) - right).mean())
