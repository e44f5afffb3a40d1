"""The adder convolution of 8-bit integers, exact: QAdderConv2d and QAdderConv2dAdd (plugins/operators.toml).

Source: AdderNet, arXiv 1912.13200, equation 2; one scale for X and W, arXiv 2101.10015, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.operators.adder_conv2d import check_inputs, output_size

# ONNX's numbers (TensorProto.DataType) of the types that Y may have.
OUTPUT_TYPES = {1: torch.float32, 2: torch.uint8, 3: torch.int8}
# Sums of at most so many differences of 8-bit integers stay below 2^24: float32 holds them exactly.
MAX_TAPS = 65793
# Elements of the largest temporary: windows of X as columns of taps.
CHUNK_ELEMENTS = 1 << 22


def check_quantized_inputs(
    x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, stride: int, padding: int, output_type: int
) -> None:
    """Raises UsageError for shapes and types that the operator does not take."""
    check_inputs(x, weight, stride, padding)
    if x.dtype not in (torch.uint8, torch.int8) or weight.dtype != x.dtype:
        raise UsageError(f"q_adder_conv2d takes X and W both uint8 or both int8, got {x.dtype} and {weight.dtype}")
    if OUTPUT_TYPES.get(output_type) not in (torch.float32, x.dtype):
        raise UsageError(f"q_adder_conv2d: output_type {output_type} is neither float32 (1) nor X's type, {x.dtype}")
    if weight[0].numel() > MAX_TAPS:
        raise UsageError(f"q_adder_conv2d takes at most {MAX_TAPS} taps (C * kH * kW), W has {weight[0].numel()}")
    for name, vector in (("scale", scale), ("shift", shift)):
        if vector.shape != weight.shape[:1] or vector.dtype != torch.float32:
            raise UsageError(
                f"q_adder_conv2d: {name} is {vector.dtype} {list(vector.shape)}, expected float32 [{weight.shape[0]}]"
            )


def _check_zero_points(kind: torch.dtype, **zero_points: int) -> None:
    limits = torch.iinfo(kind)
    for name, value in zero_points.items():
        if not limits.min <= value <= limits.max:
            raise UsageError(f"q_adder_conv2d: {name} {value} is not a value of {kind}")


def _distance_rows(x: Tensor, weight: Tensor, stride: int, padding: int, zero_point: int) -> Iterator[Tensor]:
    """The exact sums S as float32 [1,M,rows,Wo], image by image, some output rows at a time."""
    filters = weight.flatten(1).float()
    kernel_height, kernel_width = weight.shape[2:]
    height, width = output_size(x, weight, stride, padding)
    step = max(1, CHUNK_ELEMENTS // (filters.shape[1] * width))
    for image in x:
        padded = functional.pad(image.float(), [padding] * 4, value=float(zero_point))
        for first in range(0, height, step):
            rows = min(step, height - first)
            part = padded[:, first * stride : (first + rows - 1) * stride + kernel_height]
            taps = functional.unfold(part[None], (kernel_height, kernel_width), stride=stride)[0]
            yield torch.cdist(filters, taps.T, p=1.0).view(1, -1, rows, width)


def _quantize(value: Tensor, output_type: int, scale: float, zero_point: int) -> Tensor:
    """ONNX's QuantizeLinear: a division, in float32. A tensor divides, since some devices multiply by 1 / scalar."""
    kind = OUTPUT_TYPES[output_type]
    if kind == torch.float32:
        return value
    limits = torch.iinfo(kind)
    steps = torch.round(value / torch.full((1,), scale, dtype=torch.float32, device=value.device))
    return (steps + zero_point).clamp_(limits.min, limits.max).to(kind)


@torch.library.custom_op("adroit::q_adder_conv2d", mutates_args=())
def q_adder_conv2d(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    stride: int,
    padding: int,
    relu: bool,
    x_zero_point: int,
    output_type: int,
    output_scale: float,
    output_zero_point: int,
) -> Tensor:
    """quantize(act(shift[m] - scale[m] * S)), S = the exact sum of |Xpad - W|; for inference, without a gradient.

    The order of the float32 operations, and so every bit of the result, is defined in operators.toml.

    Args:
        x: [N,C,H,W], uint8 or int8. weight: [M,C,kH,kW], x's dtype; both with one scale and zero point.
        scale, shift: [M], float32: the folded batch norm, in units of x's scale.
        stride, padding: in pixels, both dimensions and all sides.
        relu: values below 0 become 0, before quantizing.
        x_zero_point: the integer that stands for 0; X is padded with it.
        output_type: 1 float32 (the rest is then unused), or x's own: 2 uint8, 3 int8.
        output_scale, output_zero_point: Y = saturate(round_half_to_even(value / scale) + zero point).

    Returns:
        [N,M,Ho,Wo] of the output type, Ho = floor((H + 2 padding - kH) / stride) + 1.

    Raises:
        UsageError: shapes, types or zero points that do not fit, an empty batch, more than 65793 taps.
    """
    check_quantized_inputs(x, weight, scale, shift, stride, padding, output_type)
    _check_zero_points(x.dtype, x_zero_point=x_zero_point, output_zero_point=output_zero_point)
    return _convolve(
        x, weight, scale, shift, None, stride, padding, relu, x_zero_point, output_type, output_scale, output_zero_point
    )


@torch.library.custom_op("adroit::q_adder_conv2d_add", mutates_args=())
def q_adder_conv2d_add(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    residual: Tensor,
    stride: int,
    padding: int,
    relu: bool,
    x_zero_point: int,
    output_type: int,
    output_scale: float,
    output_zero_point: int,
    residual_scale: float,
    residual_zero_point: int,
) -> Tensor:
    """q_adder_conv2d with residual_scale * (residual - residual_zero_point) added before the activation.

    Args:
        residual: [N,M,Ho,Wo], x's dtype; the others as in q_adder_conv2d.

    Raises:
        UsageError: as q_adder_conv2d, and for a residual of another shape or type.
    """
    check_quantized_inputs(x, weight, scale, shift, stride, padding, output_type)
    _check_zero_points(
        x.dtype,
        x_zero_point=x_zero_point,
        output_zero_point=output_zero_point,
        residual_zero_point=residual_zero_point,
    )
    expected = (x.shape[0], weight.shape[0], *output_size(x, weight, stride, padding))
    if residual.shape != expected or residual.dtype != x.dtype:
        raise UsageError(
            f"q_adder_conv2d_add: residual is {residual.dtype} {list(residual.shape)}, "
            f"expected {x.dtype} {list(expected)}"
        )
    real = (residual.float() - residual_zero_point) * torch.full((1,), residual_scale, device=x.device)
    return _convolve(
        x, weight, scale, shift, real, stride, padding, relu, x_zero_point, output_type, output_scale, output_zero_point
    )


def _convolve(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    residual: Tensor | None,
    stride: int,
    padding: int,
    relu: bool,
    x_zero_point: int,
    output_type: int,
    output_scale: float,
    output_zero_point: int,
) -> Tensor:
    """`residual`: real values, float32 [N,M,Ho,Wo]."""
    height, width = output_size(x, weight, stride, padding)
    out = x.new_empty(x.shape[0], weight.shape[0], height, width, dtype=OUTPUT_TYPES[output_type])
    image = row = 0
    for sums in _distance_rows(x, weight, stride, padding, x_zero_point):
        rows = slice(row, row + sums.shape[2])
        # Products and sums in this order and apart from each other: operators.toml defines every bit.
        value = shift[:, None, None] - scale[:, None, None] * sums[0]
        if residual is not None:
            value = value + residual[image, :, rows]
        value = value.relu_() if relu else value
        out[image, :, rows] = _quantize(value, output_type, output_scale, output_zero_point)
        image, row = (image, rows.stop) if rows.stop < height else (image + 1, 0)
    return out


def _like_output(x: Tensor, weight: Tensor, stride: int, padding: int, output_type: int) -> Tensor:
    size = output_size(x, weight, stride, padding)
    return x.new_empty(x.shape[0], weight.shape[0], *size, dtype=OUTPUT_TYPES[output_type])


@q_adder_conv2d.register_fake
def _(x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, stride: int, padding: int, *rest: Any) -> Tensor:
    return _like_output(x, weight, stride, padding, rest[2])


@q_adder_conv2d_add.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    residual: Tensor,
    stride: int,
    padding: int,
    *rest: Any,
) -> Tensor:
    return _like_output(x, weight, stride, padding, rest[2])
