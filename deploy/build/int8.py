"""An 8-bit network in int8 with symmetric quantization, which is what TensorRT has instead of uint8.

Every integer is lowered by 128: activations, weights and zero points alike, so that their differences, and
with them every sum of an adder layer, stay the same (plugins/operators.toml). TensorRT's QuantizeLinear takes
no zero point other than 0: the zero point is added in float32 before it, and taken off after DequantizeLinear.
A value that lies within a rounding of the border between two integers may fall to the other one by that.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.passes.graph import add_initializer, constant

LOWERED = 128
INT8 = ir.DataType.INT8


def lower_to_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with int8 in the place of uint8; itself where there is none."""
    typed = ir.serde.deserialize_model(model)
    graph = typed.graph
    count = 0
    for node in list(graph):
        if node.domain == DOMAIN and node.op_type in ("QAdderConv2d", "QAdderConv2dAdd"):
            _lower_adder(graph, node)
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.domain == "":
            _make_symmetric(graph, node)
        else:
            continue
        count += 1
    ir.passes.common.RemoveUnusedNodesPass()(typed)
    return ir.serde.serialize_model(typed) if count else model


def _lower_adder(graph: ir.Graph, node: ir.Node) -> None:
    weight = constant(node.inputs[1])
    assert weight is not None  # `adroit quantize` writes no other
    name = f"{node.name}.int8_weight"
    node.replace_input_with(1, add_initializer(graph, name, (weight.astype(np.int16) - LOWERED).astype(np.int8)))
    for key, attribute in list(node.attributes.items()):
        if key.endswith("zero_point"):
            node.attributes[key] = ir.AttrInt64(key, attribute.as_int() - LOWERED)
    # A float32 result uses no zero point, but the attribute must be a value of int8 all the same.
    if node.attributes["output_type"].as_int() == ir.DataType.UINT8:
        node.attributes["output_type"] = ir.AttrInt64("output_type", int(INT8))
        node.outputs[0].type = ir.TensorType(INT8)


def _make_symmetric(graph: ir.Graph, node: ir.Node) -> None:
    """round(v / s) + z - 128 is round((v + s (z - 128)) / s), saturated alike."""
    value, scale, zero_point = node.inputs
    step, zero = constant(scale), constant(zero_point)
    assert value is not None and step is not None and zero is not None
    offset = np.array(np.float32(step) * (int(zero) - LOWERED), np.float32)
    moved = add_initializer(graph, f"{node.outputs[0].name}.offset", offset)
    node.replace_input_with(2, add_initializer(graph, f"{node.outputs[0].name}.zero", np.zeros((), np.int8)))
    if node.op_type == "QuantizeLinear":
        add = ir.Node("", "Add", [value, moved], name=f"{node.name}/Add")
        add.outputs[0].shape, add.outputs[0].type = value.shape, value.type
        graph.insert_before(node, add)
        node.replace_input_with(0, add.outputs[0])
        node.outputs[0].type = ir.TensorType(INT8)
    else:
        result = node.outputs[0]
        subtract = ir.Node("", "Sub", [result, moved], name=f"{node.name}/Sub")
        made = subtract.outputs[0]
        made.shape, made.type, made.name = result.shape, result.type, result.name
        result.name = f"{result.name}.moved"
        result.replace_all_uses_with(made, replace_graph_outputs=True)
        subtract.replace_input_with(0, result)
        graph.insert_after(node, subtract)
