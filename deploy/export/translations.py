"""How each of adroit's torch operators becomes an ONNX node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

import adroit.models.operators.adaptive_filter
import adroit.models.operators.adder_conv2d
import adroit.models.operators.quantized_adder_conv2d
import adroit.models.operators.routing_gate  # noqa: F401  (registers torch.ops.adroit.*)
from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.schemas import schema_of

if TYPE_CHECKING:
    from onnxscript.values import Op


def _node(name: str) -> Op:
    """The ONNX operator `name` as a callable of the exporter.

    The exporter wants a schema; without one it would inline the call.
    """
    from onnxscript.values import Op, Opset

    return Op(Opset(DOMAIN, 1), name, schema_of(name))


def _adder_conv2d(x: Any, weight: Any, stride: int, padding: int) -> Any:
    from onnxscript import opset18 as op

    filters = weight.shape[0]
    one, zero = op.Constant(value_floats=[1.0] * filters), op.Constant(value_floats=[0.0] * filters)
    return _node("AdderConv2d")(x, weight, one, zero, strides=[stride] * 2, pads=[padding] * 4, activation=0)


def _quantized_attributes(
    stride: int,
    padding: int,
    relu: bool,
    x_zero_point: int,
    output_type: int,
    output_scale: float,
    output_zero_point: int,
) -> dict[str, Any]:
    return {
        "strides": [stride] * 2,
        "pads": [padding] * 4,
        "activation": int(relu),
        "x_zero_point": x_zero_point,
        "output_type": output_type,
        "output_scale": output_scale,
        "output_zero_point": output_zero_point,
    }


def _q_adder_conv2d(x: Any, weight: Any, scale: Any, shift: Any, *attributes: Any) -> Any:
    return _node("QAdderConv2d")(x, weight, scale, shift, **_quantized_attributes(*attributes))


def _q_adder_conv2d_add(x: Any, weight: Any, scale: Any, shift: Any, residual: Any, *attributes: Any) -> Any:
    *shared, residual_scale, residual_zero_point = attributes
    return _node("QAdderConv2dAdd")(
        x,
        weight,
        scale,
        shift,
        residual,
        **_quantized_attributes(*shared),
        residual_scale=residual_scale,
        residual_zero_point=residual_zero_point,
    )


def _adaptive_filter(x: Any, logits: Any, kernel_size: int, stride: int, groups: int, joint_softmax: bool) -> Any:
    return _node("AdaptiveFilter")(
        x, logits, kernel_size=kernel_size, stride=stride, groups=groups, joint_softmax=int(joint_softmax)
    )


def _routing_gate(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, threshold: Any, shrink: int) -> Any:
    return _node("RoutingGate")(x, w1, b1, w2, b2, threshold, shrink=shrink)


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The exporter's table: torch operator to a function that makes the node."""
    return {
        torch.ops.adroit.adder_conv2d.default: _adder_conv2d,
        torch.ops.adroit.q_adder_conv2d.default: _q_adder_conv2d,
        torch.ops.adroit.q_adder_conv2d_add.default: _q_adder_conv2d_add,
        torch.ops.adroit.adaptive_filter.default: _adaptive_filter,
        torch.ops.adroit.routing_gate.default: _routing_gate,
    }
