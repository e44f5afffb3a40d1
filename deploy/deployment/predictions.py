"""The likeliest labels of a classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def likeliest(logits: NDArray[Any], labels: Sequence[str], count: int) -> list[list[tuple[str, float]]]:
    """Of every image of [N,classes] its `count` likeliest labels, each with its share (softmax); without
    names, a label is its number."""
    values = logits.astype(np.float64)
    shares = np.exp(values - values.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :count]
    return [
        [(labels[i] if labels else str(i), float(row[i])) for i in order]
        for row, order in zip(shares, best, strict=True)
    ]
