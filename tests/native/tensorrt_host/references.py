"""The operators in plain loops over float64 numbers, from their definitions: what the kernels must give.

Inputs are the tensors as the kernels see them (already rounded to float16 where they are half).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def distances(x: Array, w: Array, strides: list[int], pads: list[int], pad_value: float) -> Array:
    """Sum over c, kh, kw of |Xpad - W|: x [N,C,H,W], w [M,C,kH,kW] -> [N,M,Ho,Wo]; pads as ONNX orders them."""
    top, left, bottom, right = pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=pad_value)
    height, width = ((padded.shape[2 + i] - w.shape[2 + i]) // strides[i] + 1 for i in (0, 1))
    sums = np.empty((x.shape[0], w.shape[0], height, width))
    for row in range(height):
        for column in range(width):
            first_row, first_column = row * strides[0], column * strides[1]
            window = padded[:, None, :, first_row : first_row + w.shape[2], first_column : first_column + w.shape[3]]
            sums[:, :, row, column] = np.abs(window - w).sum((2, 3, 4))
    return sums


def per_channel(vector: Array) -> Array:
    return vector[None, :, None, None]


def adaptive_filter(x: Array, logits: Array, kernel_size: int, stride: int, groups: int, joint_softmax: int) -> Array:
    """x [N,C,H,W], logits [N,G*k*k,Ho,Wo] -> [N,C,Ho,Wo]."""
    taps, margin = kernel_size * kernel_size, kernel_size // 2
    batch, channels, height, width = logits.shape[0], x.shape[1], *logits.shape[2:]
    shaped = logits.reshape(batch, 1 if joint_softmax else groups, -1, height, width)
    weights = np.exp(shaped - shaped.max(2, keepdims=True))
    weights = (weights / weights.sum(2, keepdims=True)).reshape(batch, groups, taps, height, width)
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect")
    y = np.zeros((batch, channels, height, width))
    for channel in range(channels):
        group = channel // (channels // groups)
        for tap in range(taps):
            top, left = tap // kernel_size, tap % kernel_size
            rows = slice(top, top + (height - 1) * stride + 1, stride)
            columns = slice(left, left + (width - 1) * stride + 1, stride)
            y[:, channel] += weights[:, group, tap] * padded[:, channel, rows, columns]
    return y


def routing_gate(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, threshold: Array, shrink: int
) -> tuple[Array, Array]:
    """gates [N,P] and open [P] (1 or 0)."""
    if shrink == 4:  # the mean of the center 2 x 2 of each 4 x 4 block
        rows, columns = x.shape[2] // 4, x.shape[3] // 4
        blocks = x[:, :, : rows * 4, : columns * 4].reshape(*x.shape[:2], rows, 4, columns, 4)
        x = blocks[:, :, :, 1:3, :, 1:3].mean((3, 5))
    hidden = np.maximum(np.einsum("hc,ncij->nhij", w1, x) + per_channel(b1), 0).mean((2, 3))
    value = np.maximum(np.tanh(hidden @ w2.T + b2), 0)
    gates = np.where(value > np.maximum(threshold, 0)[:, None], value, 0)
    return gates, (gates > 0).any(0).astype(np.float64)


def routing_decision(gates: Array, live: Array, belongs: Array, reach: Array, shown: Array) -> list[Array]:
    """counted [N,P], opened [N,S], reached [N,T], flags [K]; all but the first 1 or 0."""
    counted, opened = np.zeros_like(gates), np.zeros_like(live)
    for sample, node in np.ndindex(*live.shape):
        paths = belongs[:, node] == 1
        if live[sample, node] > 0 and gates[sample, paths].sum() >= 1e-4:
            opened[sample, node] = 1
            counted[sample, paths] = gates[sample, paths]
    states = np.concatenate([counted, opened, 1 - opened, live], 1)
    reached, flags = states @ reach > 0, (states @ shown > 0).any(0)
    return [counted, opened, reached.astype(np.float64), flags.astype(np.float64)]
