"""Reductions, and what looks for the greatest values."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from adroit.deploy.measure.formulas.node import Formula, SizedNode, per_input
from adroit.models.operators.counts import OperationCounts

_ONE = "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ArgMax ArgMin Hardmax"


def _reduction(elementwise: int, inputs: int, outputs: int) -> Formula:
    """So many elementwise and transcendental operations an input, and transcendental ones an output."""

    def formula(node: SizedNode) -> OperationCounts:
        elements = prod(node.input())
        return OperationCounts(0, 0, elements * elementwise, elements * inputs + node.elements * outputs)

    return formula


def _top_k(node: SizedNode) -> OperationCounts:
    """Each element passes a heap of the k greatest: as many comparisons as the heap has levels."""
    k = node.output()[node.attribute("axis", -1)]
    return OperationCounts(elementwise=prod(node.input()) * k.bit_length())


FORMULAS: Mapping[str, Formula] = {
    **dict.fromkeys(_ONE.split(), per_input()),
    "ReduceL1": _reduction(2, 0, 0),
    "ReduceSumSquare": _reduction(2, 0, 0),
    "ReduceL2": _reduction(2, 0, 1),
    "ReduceLogSum": _reduction(1, 0, 1),
    # The greatest value is subtracted first, so that no exponential overflows.
    "ReduceLogSumExp": _reduction(3, 1, 1),
    "TopK": _top_k,
}
