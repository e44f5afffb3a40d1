"""AdderConv2d and AdderConv2dAdd for the toolchain: AdderNet, arXiv 1912.13200, equation 2."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from adroit.deploy.operators.rules import (
    Attributes,
    Dimensions,
    OperatorRules,
    Shape,
    TorchOperator,
    convolved_dimension,
    onnx_node,
)
from adroit.errors import UnsupportedModel
from adroit.models.operators.counts import OperationCounts

if TYPE_CHECKING:
    from torch import Tensor

MODULE = "adroit.models.operators.adder_conv2d"


def output_shapes(inputs: Sequence[Dimensions], attributes: Attributes) -> list[Dimensions]:
    """Y [N,M,Ho,Wo] of X [N,C,H,W] and W [M,C,kH,kW]."""
    x, w = inputs[:2]
    (stride_h, stride_w), (top, left, bottom, right) = attributes["strides"], attributes["pads"]
    height = convolved_dimension(x[2], w[2], stride_h, top, bottom)
    width = convolved_dimension(x[3], w[3], stride_w, left, right)
    return [[x[0], w[0], height, width]]


def counts(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> OperationCounts:
    """An absolute difference for each tap of each output; scale, shift, residual and ReLU are elementwise."""
    elements, taps, has_residual = prod(outputs[0]), prod(inputs[1][1:]), len(inputs) > 4
    elementwise = elements * (2 + int(has_residual) + int(attributes["activation"] == 1))
    return OperationCounts(absolute_differences=elements * taps, elementwise=elementwise)


def smallest_input(attributes: Attributes, inputs: Sequence[Shape | None], axis: int) -> tuple[int, str] | None:
    """X with its padding is at least as large as the kernel."""
    weight, pads = inputs[1], attributes["pads"]
    if weight is None:
        return None
    return weight[axis] - pads[axis - 2] - pads[axis], "the kernel does not fit in"


def stride_and_padding(attributes: Attributes) -> tuple[int, int]:
    """The attributes as the torch operators take them, one number each.

    Raises:
        UnsupportedModel: dimensions or sides differ.
    """
    strides, pads = attributes["strides"], attributes["pads"]
    if len({*strides}) > 1 or len({*pads}) > 1:
        raise UnsupportedModel(
            f"strides {strides} or padding {pads} differ between dimensions or sides, which no network of adroit has"
        )
    return strides[0], pads[0]


def _translate(x: Any, weight: Any, stride: int, padding: int) -> Any:
    from onnxscript import opset18 as op

    filters = weight.shape[0]
    one, zero = op.Constant(value_floats=[1.0] * filters), op.Constant(value_floats=[0.0] * filters)
    return onnx_node("AdderConv2d")(x, weight, one, zero, strides=[stride] * 2, pads=[padding] * 4, activation=0)


def _rounding(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    # A sum of terms of one sign: no cancellation, so the magnitude is the result itself.
    return result.abs(), arguments[1][0].numel()


def _compute(a: Attributes, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, *residual: Tensor) -> Tensor:
    from adroit.models.operators.adder_conv2d import adder_conv2d

    y: Tensor = adder_conv2d(x, weight, *stride_and_padding(a))
    y = y * scale[:, None, None] + shift[:, None, None]
    for more in residual:
        y = y + more
    return y.relu() if a["activation"] else y


OPERATORS = [
    OperatorRules(
        "AdderConv2d",
        output_shapes,
        counts,
        smallest_input,
        TorchOperator("adder_conv2d", MODULE, _translate),
        _rounding,
        compute=_compute,
    ),
    OperatorRules("AdderConv2dAdd", output_shapes, counts, smallest_input, compute=_compute),
]
