"""The operators by their definitions, in float64 and plain loops: the one reference of every test.

Inputs are the tensors as the kernels see them (already rounded to float16 where they are half). Nothing here is used
by the operators themselves. How far an implementation may be from a value is in the case files, and is the limit of
deploy/parity/tolerance.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CLOSED_BELOW = np.float32(1e-4)  # a node is closed where its gates sum to less


def distances(x: Array, w: Array, strides: Sequence[int], pads: Sequence[int], pad_value: float) -> Array:
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
    """[M] -> [1,M,1,1]."""
    return vector[None, :, None, None]


def softmax_weights(logits: Array, kernel_size: int, groups: int, joint_softmax: bool) -> Array:
    """logits [N,G*k*k,Ho,Wo] -> [N,G,k*k,Ho,Wo]: the softmax over all channels of a position, or over each group's."""
    batch, height, width = logits.shape[0], *logits.shape[2:]
    shaped = logits.reshape(batch, 1 if joint_softmax else groups, -1, height, width)
    weights = np.exp(shaped - shaped.max(2, keepdims=True))
    return (weights / weights.sum(2, keepdims=True)).reshape(batch, groups, kernel_size**2, height, width)


def filtered(x: Array, weights: Array, stride: int) -> Array:
    """x [N,C,H,W] by weights [N,G,k*k,Ho,Wo] -> [N,C,Ho,Wo]; x is padded by reflection."""
    _, groups, taps, height, width = weights.shape
    kernel_size = math.isqrt(taps)
    margin, channels = kernel_size // 2, x.shape[1]
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect")
    group = np.arange(channels) // (channels // groups)
    y = np.zeros((x.shape[0], channels, height, width))
    for tap in range(taps):
        top, left = tap // kernel_size, tap % kernel_size
        rows = slice(top, top + (height - 1) * stride + 1, stride)
        columns = slice(left, left + (width - 1) * stride + 1, stride)
        y += weights[:, group, tap] * padded[:, :, rows, columns]
    return y


def adaptive_filter(x: Array, logits: Array, kernel_size: int, stride: int, groups: int, joint_softmax: bool) -> Array:
    """x [N,C,H,W], logits [N,G*k*k,Ho,Wo] -> [N,C,Ho,Wo]."""
    return filtered(x, softmax_weights(logits, kernel_size, groups, joint_softmax), stride)


def seen_by_gate(x: Array, shrink: int) -> Array:
    """x [N,C,H,W] -> [N,C,H/shrink,W/shrink]; for shrink 4 the mean of the center 2 x 2 of each 4 x 4 block."""
    if shrink == 1:
        return x
    rows, columns = x.shape[2] // 4, x.shape[3] // 4
    blocks = x[:, :, : rows * 4, : columns * 4].reshape(*x.shape[:2], rows, 4, columns, 4)
    center: Array = blocks[:, :, :, 1:3, :, 1:3].mean((3, 5))
    return center


def routing_gate(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, threshold: Array, shrink: int
) -> tuple[Array, Array]:
    """gates [N,P] and open [P] (1 or 0)."""
    seen = seen_by_gate(x, shrink)
    hidden = np.maximum(np.einsum("hc,ncij->nhij", w1, seen) + per_channel(b1), 0).mean((2, 3))
    value = np.maximum(np.tanh(hidden @ w2.T + b2), 0)
    gates = np.where(value > np.maximum(threshold, 0)[:, None], value, 0)
    return gates, (gates > 0).any(0).astype(np.float64)


def routing_decision(gates: Array, live: Array, belongs: Array, reach: Array, shown: Array) -> list[Array]:
    """counted [N,P], opened [N,S], reached [N,T], flags [K]; all but the first 1 or 0."""
    counted, opened = np.zeros_like(gates), np.zeros_like(live)
    for sample, node in np.ndindex(*live.shape):
        paths = belongs[:, node] == 1
        if live[sample, node] > 0 and np.float32(gates[sample, paths].sum()) >= CLOSED_BELOW:
            opened[sample, node] = 1
            counted[sample, paths] = gates[sample, paths]
    states = np.concatenate([counted, opened, 1 - opened, live], 1)
    reached, flags = states @ reach > 0, (states @ shown > 0).any(0)
    return [counted, opened, reached.astype(np.float64), flags.astype(np.float64)]


@dataclass(frozen=True)
class Reference:
    """A result and how far a right implementation may be from it, element by element: arrays of float64."""

    value: Array
    limit: Array

    def used(self, output: Any) -> float:
        """The largest share of its limit that an element uses; infinite where one is not a number.

        output: a torch tensor on any device.
        """
        share = np.abs(output.double().cpu().numpy() - self.value) / self.limit
        return float("inf") if bool(np.isnan(share).any()) else float(share.max())


def stored_limit(value: Array, stored: str) -> Array:
    """Returns how far rounding to the type `stored` moves a value; 0 for float32, whose rounding other limits hold."""
    if stored != "float16":
        return np.zeros_like(value)
    return np.abs(value) * 2.0**-11 + 2.0**-25


def gates_are_right(reference: Reference, threshold: Array, gates: Any, is_open: Any) -> bool:
    """Returns whether gates are 0 or the value, on the right side of the threshold.

    Nearer to the threshold than the limit, both sides are right.

    reference: of the gate before the threshold. threshold: [1] or [N]. gates, is_open: torch tensors.
    """
    value, opened = gates.double().cpu().numpy(), is_open.cpu().numpy()
    above = np.maximum(threshold.astype(np.float64), 0.0)[:, None]
    closed = value == 0.0
    may_be_closed = reference.value <= above + reference.limit
    may_be_open = reference.value >= above - reference.limit
    near = np.abs(value - reference.value) <= reference.limit
    right = np.where(closed, may_be_closed, may_be_open & near)
    return bool(right.all()) and bool((opened == (~closed).any(0)).all())
