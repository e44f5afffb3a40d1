"""Arithmetic and activations: so many operations for each element."""

from __future__ import annotations

from collections.abc import Mapping

from adroit.deploy.measure.formulas.node import Formula, SizedNode, per_input, per_output
from adroit.models.operators.counts import OperationCounts

_ONE = """
    Add Sub Mul Div Mod Neg Abs Sign Reciprocal Floor Ceil Round Clip
    And Or Xor Not BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot IsNaN IsInf
    Equal Less LessOrEqual Greater GreaterOrEqual
    Relu LeakyRelu PRelu ThresholdedRelu Shrink QuantizeLinear DequantizeLinear
"""
_TRANSCENDENTAL = """
    Exp Log Sqrt Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh Erf Sigmoid
"""
# Elementwise and transcendental operations an element, after the operator's definition in ONNX's specification.
_ACTIVATIONS: Mapping[str, tuple[int, int]] = {
    "HardSigmoid": (3, 0),  # clip(a x + b, 0, 1)
    "HardSwish": (4, 0),  # x times a hard sigmoid
    "Softsign": (3, 0),  # x / (1 + |x|)
    "Elu": (2, 1),  # a (exp(x) - 1)
    "Celu": (3, 1),  # a (exp(x / a) - 1)
    "Selu": (3, 1),  # g (a exp(x) - a)
    "Softplus": (1, 2),  # log(1 + exp(x))
    "Mish": (2, 3),  # x tanh(log(1 + exp(x)))
    "Swish": (2, 1),  # x sigmoid(a x)
}
# x ** n is this many products; larger exponents take a power.
_PRODUCTS = {1.0: 0, 2.0: 1, 3.0: 2, 4.0: 2}


def _folded(node: SizedNode) -> OperationCounts:
    """Max, Min, Sum and Mean of several tensors: one operation for each tensor after the first."""
    return OperationCounts(elementwise=node.elements * max(len(node.proto.input) - 1, 0))


def _mean(node: SizedNode) -> OperationCounts:
    return _folded(node) + OperationCounts(elementwise=node.elements)


def _power(node: SizedNode) -> OperationCounts:
    products = _PRODUCTS.get(node.number(1) or 0.0)
    if products is None:
        return OperationCounts(transcendental=node.elements)
    return OperationCounts(elementwise=node.elements * products)


def _gelu(node: SizedNode) -> OperationCounts:
    """x/2 (1 + erf(x/sqrt 2)), or x/2 (1 + tanh(a (x + b x**3)))."""
    each = 4 if node.attribute("approximate", "none") == "none" else 8
    return OperationCounts(elementwise=node.elements * each, transcendental=node.elements)


FORMULAS: Mapping[str, Formula] = {
    **dict.fromkeys(_ONE.split(), per_output(1)),
    **dict.fromkeys(_TRANSCENDENTAL.split(), per_output(0, 1)),
    **{name: per_output(*each) for name, each in _ACTIVATIONS.items()},
    **dict.fromkeys(("Max", "Min", "Sum"), _folded),
    "Mean": _mean,
    "Pow": _power,
    "Gelu": _gelu,
    **dict.fromkeys(("CumSum", "CumProd"), per_input()),
    # The least and the greatest value are looked for, then each is scaled.
    "DynamicQuantizeLinear": per_input(3),
}
