"""Nodes that give a factor and an offset to each channel: batch norms, and arithmetic with constants."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adroit.deploy.passes.graph import constant
from adroit.models.operators.batch_norm import norm_factor_and_offset

Vector = NDArray[np.float64]
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})


def affine_source(node: ir.Node) -> ir.Value | None:
    """Returns what `node` may give a factor and an offset to; None where it is a node of another kind."""
    if node.domain != "" or not node.inputs:
        return None
    if node.op_type == "BatchNormalization":
        return node.inputs[0]
    if node.op_type not in _ARITHMETIC:
        return None
    variable = [value for value in node.inputs if constant(value) is None]
    return variable[0] if len(variable) == 1 else None


def affine_terms(node: ir.Node, channels: int, rank: int) -> tuple[Vector, Vector] | None:
    """Returns (factor, offset), float64 [channels], so that `node` gives factor * source + offset.

    None where it does something else: a norm that takes its statistics from the batch, or a constant that differs
    between positions or makes the result larger than the source.

    Args:
        node: one that affine_source knows.
        channels: size of the source's axis 1. rank: number of its axes.
    """
    if node.op_type == "BatchNormalization":
        return _norm_terms(node)
    first, second = (constant(value) for value in node.inputs)
    array = first if second is None else second
    vector = None if array is None else _by_channel(array, channels, rank)
    return None if vector is None else _arithmetic_terms(node.op_type, vector, constant_first=second is None)


def _norm_terms(norm: ir.Node) -> tuple[Vector, Vector] | None:
    training = norm.attributes.get("training_mode")
    if (training is not None and training.as_int() != 0) or any(value.uses() for value in norm.outputs[1:]):
        return None
    arrays = [constant(value) for value in norm.inputs[1:5]]
    if any(array is None for array in arrays):
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    return norm_factor_and_offset(gamma, beta, mean, variance, epsilon)


def _by_channel(array: NDArray[np.generic], channels: int, rank: int) -> Vector | None:
    """One number for each channel, where `array` broadcasts that way to a source of `rank` axes."""
    if array.ndim > rank:
        return None
    shape = (*[1] * (rank - array.ndim), *array.shape)
    if array.size != shape[1] or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(np.asarray(array, np.float64).reshape(-1), (channels,))


def _arithmetic_terms(kind: str, vector: Vector, constant_first: bool) -> tuple[Vector, Vector] | None:
    one, zero = np.ones_like(vector), np.zeros_like(vector)
    if kind == "Add":
        return one, vector
    if kind == "Sub":
        return (-one, vector) if constant_first else (one, -vector)
    if kind == "Mul":
        return vector, zero
    if constant_first or not np.all(vector):
        return None
    return 1.0 / vector, zero
