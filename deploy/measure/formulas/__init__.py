"""The formulas by which standard ONNX operators are counted; those of adroit's own are in deploy/operators/.

Conventions, for every formula:

- Each element counts, zeros and padded positions of a window included.
- Copying, reordering and choosing (Where, Gather, a comparison's two results) are no arithmetic.
- A function of one number, such as exp, tanh, erf, sqrt or a power, is one transcendental operation, and so is
  sigmoid; what surrounds it in a formula is elementwise.
- What is the same for all images, or for a row or a column, such as the weights of an interpolation, is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from adroit.deploy.measure.formulas import elementwise, movement, norms, products, recurrent, reductions, windows
from adroit.deploy.measure.formulas.node import Formula, SizedNode, UncountedOperator

__all__ = ["FORMULAS", "Formula", "SizedNode", "UncountedOperator"]

FORMULAS: Mapping[str, Formula] = {
    name: formula
    for module in (movement, elementwise, reductions, norms, windows, products, recurrent)
    for name, formula in module.FORMULAS.items()
}
