"""Batch norm after a convolution becomes part of it: computed in float64, rounded once.

After an adder convolution it becomes scale and shift, and that is a matter of correctness too:
adder sums are near -3,000 with a spread of 2 to 15, so they must not be rounded to a shorter type
before the norm is applied.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adroit.deploy.passes.graph import MODULE_KEY, add_initializer, constant, is_operator, replace_node, sole_consumer
from adroit.models.operators.batch_norm import norm_factor_and_offset

Vector = NDArray[np.float64]


def fold_batch_norm(graph: ir.Graph) -> int:
    """Folds y = gamma * (s - mean) / sqrt(var + epsilon) + beta into the AdderConv2d or Conv that makes s."""
    return sum(_fold(node) for node in list(graph) if node.op_type == "BatchNormalization" and node.domain == "")


def _fold(norm: ir.Node) -> bool:
    source = norm.inputs[0]
    producer = source.producer() if source is not None else None
    if producer is None or sole_consumer(producer.outputs[0]) is not norm:
        return False
    arrays = [constant(v) for v in norm.inputs[1:5]]
    if any(a is None for a in arrays):
        return False
    gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    factor, offset = norm_factor_and_offset(gamma, beta, mean, variance, epsilon)
    name = norm.metadata_props.get(MODULE_KEY) or norm.name or norm.outputs[0].name or ""
    if is_operator(producer, "AdderConv2d"):
        inputs = _into_adder(producer, factor, offset, name)
    elif producer.domain == "" and producer.op_type == "Conv":
        inputs = _into_convolution(producer, factor, offset, name)
    else:
        inputs = None
    if inputs is None:
        return False
    folded = ir.Node(
        producer.domain,
        producer.op_type,
        inputs,
        list(producer.attributes.values()),
        name=producer.name,
        metadata_props=dict(norm.metadata_props),
    )
    replace_node(norm, folded)
    assert folded.graph is not None
    folded.graph.remove(producer, safe=True)
    return True


def _into_adder(adder: ir.Node, factor: Vector, offset: Vector, name: str) -> list[ir.Value | None] | None:
    """scale * factor and shift * factor + offset in place of scale and shift."""
    scale, shift = (constant(v) for v in adder.inputs[2:4])
    if scale is None or shift is None or adder.attributes["activation"].as_int() != 0:
        return None
    graph = adder.graph
    assert graph is not None
    return [
        *adder.inputs[:2],
        add_initializer(graph, f"{name}.scale", (np.asarray(scale, np.float64) * factor).astype(np.float32)),
        add_initializer(graph, f"{name}.shift", (np.asarray(shift, np.float64) * factor + offset).astype(np.float32)),
    ]


def _into_convolution(conv: ir.Node, factor: Vector, offset: Vector, name: str) -> list[ir.Value | None] | None:
    """W * factor and b * factor + offset in place of W and b."""
    weight = constant(conv.inputs[1])
    has_bias = len(conv.inputs) > 2 and conv.inputs[2] is not None
    bias = constant(conv.inputs[2]) if has_bias else np.zeros(len(factor))
    if weight is None or bias is None:
        return None
    graph = conv.graph
    assert graph is not None
    column = factor.reshape(-1, *[1] * (weight.ndim - 1))
    return [
        conv.inputs[0],
        add_initializer(graph, f"{name}.folded_weight", (np.asarray(weight, np.float64) * column).astype(np.float32)),
        add_initializer(
            graph, f"{name}.folded_bias", (np.asarray(bias, np.float64) * factor + offset).astype(np.float32)
        ),
    ]
