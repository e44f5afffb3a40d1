"""Formulas written out in numpy and float64, loop by loop, and their gradients by central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def numeric_gradient(function: Callable[[Array], float], at: Array, places: Sequence[tuple[int, ...]]) -> Array:
    """The function's derivative by the value at each of `places`."""
    slopes = []
    for place in places:
        step = np.zeros_like(at)
        step[place] = 1e-5
        slopes.append((function(at + step) - function(at - step)) / 2e-5)
    return np.array(slopes)


def some_places(shape: tuple[int, ...], count: int) -> list[tuple[int, ...]]:
    random = np.random.default_rng(3)
    return [tuple(int(random.integers(0, size)) for size in shape) for _ in range(count)]


def convolution(x: Array, weight: Array) -> Array:
    """[C,H,W] by [M,C,k,k], zeros around."""
    pad = weight.shape[2] // 2
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    result = np.zeros((len(weight), height, width))
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            part = padded[:, row : row + height, column : column + width]
            result += np.einsum("mc,chw->mhw", weight[:, :, row, column], part)
    return result


def max_pooling(x: Array) -> Array:
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    corners = [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return np.maximum.reduce(corners)


def softmax(x: Array, axis: int = 0) -> Array:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)
