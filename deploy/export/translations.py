"""How each of adroit's torch operators becomes an ONNX node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

import models.operators.adder_conv2d  # noqa: F401  (registers torch.ops.adroit.adder_conv2d)
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


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The exporter's table: torch operator to a function that makes the node."""
    return {torch.ops.adroit.adder_conv2d.default: _adder_conv2d}
