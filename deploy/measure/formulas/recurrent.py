"""Recurrent layers: X [L,N,I] or, with layout 1, [N,L,I]; W [directions,gates*H,I]; R [directions,gates*H,H]."""

from __future__ import annotations

from collections.abc import Mapping

from adroit.deploy.measure.formulas.node import Formula, SizedNode
from adroit.models.operators.counts import OperationCounts


def _cells(elementwise: int, transcendental: int) -> Formula:
    """Two matrix products a step, their sum with the bias, and so many operations for each hidden element."""

    def formula(node: SizedNode) -> OperationCounts:
        length, batch, inputs = node.input()
        directions, rows, hidden = node.input(2)
        steps = length * batch * directions
        sums = rows * (1 + int(node.has(3)))
        return OperationCounts(
            multiply_adds=steps * rows * (inputs + hidden),
            elementwise=steps * (sums + hidden * elementwise),
            transcendental=steps * hidden * transcendental,
        )

    return formula


FORMULAS: Mapping[str, Formula] = {
    "RNN": _cells(0, 1),
    # The reset's product; (1 - z) n + z h.
    "GRU": _cells(5, 3),
    # f c + i g; o tanh(c).
    "LSTM": _cells(4, 5),
}
