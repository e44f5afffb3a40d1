"""What a network's logits tell: the most probable classes of an image, and the classes of its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """One class of an image.

    Attributes:
        label: the name of the class, or its number where the network has no names.
        probability: softmax of the logits, 0 to 1.
    """

    label: str
    probability: float


@dataclass(frozen=True)
class ClassShare:
    """A class of a segmentation.

    Attributes:
        label: the name of the class, or its number where the network has no names.
        share: of the image's pixels, 0 to 1.
    """

    label: str
    share: float


def tells_no_class(logits: NDArray[Any]) -> NDArray[np.bool_]:
    """Finds the samples, [N], whose logits [N,...] hold NaN or infinity; minus infinity is a class that is excluded."""
    bad = np.isnan(logits) | np.isposinf(logits)
    return np.asarray(bad.reshape(len(logits), -1).any(1))


def class_shares(classes: NDArray[np.integer], labels: Sequence[str]) -> list[ClassShare]:
    """Counts the pixels of each class that is there, the largest first; `classes` is [H,W]."""
    values, counts = np.unique(classes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [ClassShare(labels[values[i]] if labels else str(values[i]), float(counts[i] / classes.size)) for i in order]


def top_k(logits: NDArray[Any], labels: Sequence[str], count: int) -> list[list[Prediction]]:
    """Finds the most probable classes of every image, the most probable first.

    Args:
        logits: [N,classes].
        labels: names of the classes; may be empty.
        count: predictions an image; all classes where there are fewer.
    """
    values = logits.astype(np.float64)
    probabilities = np.exp(values - values.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return [
        [Prediction(labels[i] if labels else str(i), float(row[i])) for i in best]
        for row, best in zip(probabilities, order, strict=True)
    ]
