"""QAdderConv2d and QAdderConv2dAdd for the toolchain: the adder convolution of 8-bit integers.

plugins/operators.toml defines every bit of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from adroit.deploy.operators import adder_conv2d
from adroit.deploy.operators.rules import Attributes, OperatorRules, Shape, TorchOperator, onnx_node
from adroit.models.operators.counts import OperationCounts

if TYPE_CHECKING:
    from torch import Tensor

MODULE = "adroit.models.operators.quantized_adder_conv2d"
# The attributes after stride, padding and ReLU, in the order of the torch operators' arguments.
OUTPUT = ("x_zero_point", "output_type", "output_scale", "output_zero_point")
RESIDUAL = ("residual_scale", "residual_zero_point")
FLOAT = 1  # ONNX's number of float32, as output_type has it


def counts(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> OperationCounts:
    """The adder convolution's, and per element what the residual and the output need beside.

    A residual: its zero point and scale. An output in 8 bits: division, rounding, zero point and saturation.
    """
    has_residual, quantized = len(inputs) > 4, attributes["output_type"] != FLOAT
    more = prod(outputs[0]) * (2 * int(has_residual) + 4 * int(quantized))
    return adder_conv2d.counts(attributes, inputs, outputs) + OperationCounts(elementwise=more)


def _attributes(stride: int, padding: int, relu: bool, *rest: Any) -> dict[str, Any]:
    shared = {"strides": [stride] * 2, "pads": [padding] * 4, "activation": int(relu)}
    names = OUTPUT if len(rest) == len(OUTPUT) else OUTPUT + RESIDUAL
    return {**shared, **dict(zip(names, rest, strict=True))}


def _translate(x: Any, weight: Any, scale: Any, shift: Any, *arguments: Any) -> Any:
    return onnx_node("QAdderConv2d")(x, weight, scale, shift, **_attributes(*arguments))


def _translate_with_residual(x: Any, weight: Any, scale: Any, shift: Any, residual: Any, *arguments: Any) -> Any:
    return onnx_node("QAdderConv2dAdd")(x, weight, scale, shift, residual, **_attributes(*arguments))


def _compute(a: Attributes, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, *residual: Tensor) -> Tensor:
    from adroit.models.operators.quantized_adder_conv2d import q_adder_conv2d, q_adder_conv2d_add

    rest = (a[name] for name in (OUTPUT + RESIDUAL if residual else OUTPUT))
    arguments = (*adder_conv2d.stride_and_padding(a), bool(a["activation"]), *rest)
    operator = q_adder_conv2d_add if residual else q_adder_conv2d
    y: Tensor = operator(x, weight, scale, shift, *residual, *arguments)
    return y


def _rules(name: str, torch_name: str, translate: Any) -> OperatorRules:
    return OperatorRules(
        name,
        adder_conv2d.output_shapes,
        counts,
        adder_conv2d.smallest_input,
        TorchOperator(torch_name, MODULE, translate),
        compute=_compute,
        every_bit_defined=True,
    )


OPERATORS = [
    _rules("QAdderConv2d", "q_adder_conv2d", _translate),
    _rules("QAdderConv2dAdd", "q_adder_conv2d_add", _translate_with_residual),
]
