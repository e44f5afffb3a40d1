"""Poolings and interpolations: so many taps for each element of the output."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, prod

from adroit.deploy.measure.formulas.node import Formula, Shape, SizedNode, UncountedOperator, per_input
from adroit.models.operators.counts import OperationCounts

# Taps along one dimension, by what Resize, Upsample and GridSample call the mode.
_TAPS = {"nearest": 0, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}


def _pool(node: SizedNode) -> OperationCounts:
    return OperationCounts(elementwise=node.elements * prod(node.attribute("kernel_shape", [])))


def _power_of_taps(node: SizedNode, taps: int) -> OperationCounts:
    """A p-norm: the power of each tap and its sum, and a root for each element; of p = 1, absolute values alone."""
    p = node.attribute("p", 2)
    if p == 1:
        return OperationCounts(elementwise=2 * taps)
    if p == 2:
        return OperationCounts(elementwise=2 * taps, transcendental=node.elements)
    return OperationCounts(elementwise=taps, transcendental=taps + node.elements)


def _lp_pool(node: SizedNode) -> OperationCounts:
    return _power_of_taps(node, node.elements * prod(node.attribute("kernel_shape", [])))


def _global_lp_pool(node: SizedNode) -> OperationCounts:
    return _power_of_taps(node, prod(node.input()))


def _taps(node: SizedNode) -> int:
    mode = node.attribute("mode", "nearest")
    if mode not in _TAPS:
        raise UncountedOperator(f"there is no formula for its mode, {mode}")
    return _TAPS[mode]


def _resize(node: SizedNode) -> OperationCounts:
    """A multiply-add for each tap; the batch and the channels are not interpolated."""
    taps = _taps(node)
    if not taps:
        return OperationCounts()
    output = node.output()
    axes = node.attribute("axes", None) or range(2, len(output))
    if node.attribute("antialias", 0):
        return OperationCounts(prod(output) * prod(_antialiased(taps, node.input(), output, axis) for axis in axes))
    return OperationCounts(prod(output) * taps ** len(axes))


def _antialiased(taps: int, inputs: Shape, outputs: Shape, axis: int) -> int:
    """The taps along a dimension whose kernel is as many times wider as that dimension shrinks."""
    return ceil(taps * max(inputs[axis] / max(outputs[axis], 1), 1.0))


def _grid_sample(node: SizedNode) -> OperationCounts:
    output = node.output()
    taps = _TAPS.get(node.attribute("mode", "linear"), 0)
    return OperationCounts(prod(output) * taps ** (len(output) - 2) if taps else 0)


def _affine_grid(node: SizedNode) -> OperationCounts:
    """The product of a homogeneous position with each row of its matrix."""
    grid = node.output()
    return OperationCounts(prod(grid) * (grid[-1] + 1))


def _roi_align(node: SizedNode) -> OperationCounts:
    """Four taps a sample, and the mean or maximum of the samples of each element."""
    ratio = int(node.attribute("sampling_ratio", 0))
    if not ratio:
        raise UncountedOperator("it takes as many samples as its boxes are large (sampling_ratio 0)")
    samples = node.elements * ratio**2
    return OperationCounts(multiply_adds=4 * samples, elementwise=samples)


FORMULAS: Mapping[str, Formula] = {
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), per_input()),
    "LpPool": _lp_pool,
    "GlobalLpPool": _global_lp_pool,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "GridSample": _grid_sample,
    "AffineGrid": _affine_grid,
    "RoiAlign": _roi_align,
}
