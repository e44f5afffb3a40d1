"""How each of adroit's torch operators becomes an ONNX node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

# These imports register torch.ops.adroit.*.
import models.operators.adaptive_filter
import models.operators.adder_conv2d
import models.operators.routing_gate  # noqa: F401
from deploy.operators import DOMAIN
from deploy.schemas import schema_of

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
        torch.ops.adroit.adaptive_filter.default: _adaptive_filter,
        torch.ops.adroit.routing_gate.default: _routing_gate,
    }
