"""Normalizations and softmax."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from adroit.deploy.measure.formulas.node import Formula, SizedNode, per_output
from adroit.models.operators.counts import OperationCounts

# Mean, difference from it, square, mean of squares, scaling; then a factor and an offset, where there are any.
_STANDARDIZE = 5


def _normalized(node: SizedNode, each: int, groups: int) -> OperationCounts:
    """`each` elementwise operations an element, and the root of the variance of each group."""
    return OperationCounts(elementwise=node.elements * each, transcendental=groups)


def _instance(node: SizedNode) -> OperationCounts:
    return _normalized(node, _STANDARDIZE + 2, prod(node.input()[:2]))


def _group(node: SizedNode) -> OperationCounts:
    return _normalized(node, _STANDARDIZE + 2, node.input()[0] * int(node.attribute("num_groups", 1)))


def _rows(node: SizedNode, default_axis: int) -> int:
    """How many groups there are, of all dimensions from `axis` on."""
    shape, axis = node.input(), int(node.attribute("axis", default_axis))
    return prod(shape[: axis if axis >= 0 else len(shape) + axis])


def _layer(node: SizedNode) -> OperationCounts:
    return _normalized(node, _STANDARDIZE + 1 + int(node.has(2)), _rows(node, -1))


def _root_mean_square(node: SizedNode) -> OperationCounts:
    """Square, mean of squares, scaling, factor."""
    return _normalized(node, 4, _rows(node, -1))


def _mean_variance(node: SizedNode) -> OperationCounts:
    axes = node.attribute("axes", [0, 2, 3])
    shape = node.input()
    reduced = prod(shape[axis] for axis in axes)
    return _normalized(node, _STANDARDIZE, prod(shape) // max(reduced, 1))


def _lp(node: SizedNode) -> OperationCounts:
    """Square or absolute value, sum, division."""
    groups = _groups_along_axis(node)
    return _normalized(node, 3, groups if node.attribute("p", 2) == 2 else 0)


def _local_response(node: SizedNode) -> OperationCounts:
    """x / (bias + alpha/size * sum of `size` squares) ** beta."""
    return OperationCounts(
        elementwise=node.elements * (int(node.attribute("size", 1)) + 4), transcendental=node.elements
    )


def _groups_along_axis(node: SizedNode) -> int:
    shape = node.output()
    return prod(shape) // max(shape[int(node.attribute("axis", -1))], 1)


def _log_softmax(node: SizedNode) -> OperationCounts:
    """As softmax, with the difference from the logarithm of the sum in the division's place."""
    elements = node.elements
    return OperationCounts(elementwise=4 * elements, transcendental=elements + _groups_along_axis(node))


FORMULAS: Mapping[str, Formula] = {
    # Factor and offset as one, like a multiply-add; folded into what precedes it, the offset alone is left.
    "BatchNormalization": per_output(1),
    "InstanceNormalization": _instance,
    "GroupNormalization": _group,
    "LayerNormalization": _layer,
    "RMSNormalization": _root_mean_square,
    "SimplifiedLayerNormalization": _root_mean_square,
    "MeanVarianceNormalization": _mean_variance,
    "LpNormalization": _lp,
    "LRN": _local_response,
    # Maximum, difference, exponential, sum, division: as AdaptiveFilter counts its own.
    "Softmax": per_output(4, 1),
    "LogSoftmax": _log_softmax,
}
