"""Batch norm after an adder convolution becomes the convolution's scale and shift.

A matter of correctness too: adder sums are near -3,000 with a spread of 2 to 15, so they must not
be rounded to a shorter type before the norm is applied.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deploy.passes.graph import MODULE_KEY, add_initializer, constant, is_operator, replace_node, sole_consumer


def fold_batch_norm(graph: ir.Graph) -> int:
    """y = gamma * (scale * s + shift - mean) / sqrt(var + epsilon) + beta, computed in float64."""
    return sum(_fold(node) for node in list(graph) if node.op_type == "BatchNormalization" and node.domain == "")


def _fold(norm: ir.Node) -> bool:
    source = norm.inputs[0]
    adder = source.producer() if source is not None else None
    if adder is None or not is_operator(adder, "AdderConv2d") or sole_consumer(adder.outputs[0]) is not norm:
        return False
    if adder.attributes["activation"].as_int() != 0:
        return False
    arrays = [constant(v) for v in (*adder.inputs[2:4], *norm.inputs[1:5])]
    if any(a is None for a in arrays):
        return False
    scale, shift, gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    factor = gamma / np.sqrt(variance + epsilon)
    graph = norm.graph
    assert graph is not None
    prefix = norm.metadata_props.get(MODULE_KEY) or norm.name or norm.outputs[0].name
    folded = ir.Node(
        adder.domain,
        adder.op_type,
        [
            *adder.inputs[:2],
            add_initializer(graph, f"{prefix}.scale", (scale * factor).astype(np.float32)),
            add_initializer(graph, f"{prefix}.shift", ((shift - mean) * factor + beta).astype(np.float32)),
        ],
        list(adder.attributes.values()),
        name=adder.name,
        metadata_props=dict(norm.metadata_props),
    )
    replace_node(norm, folded)
    graph.remove(adder, safe=True)
    return True
