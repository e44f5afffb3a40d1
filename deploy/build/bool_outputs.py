"""Bool outputs of our operators, as TensorRT's plugins give them.

TensorRT takes no bool from a plugin, so that `open` of RoutingGate and `flags` of RoutingDecision are
int32 there, 1 and 0 (plugins/tensorrt). Who reads them wants bools: a Cast to bool is right for both.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from adroit.deploy.operators.definitions import DOMAIN, operators

BOOL = ir.DataType.BOOL


def cast_bool_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a Cast to bool after every such output that something reads; itself where there is none."""
    typed = ir.serde.deserialize_model(model)
    count = sum(_cast(node) for node in list(typed.graph.all_nodes()) if node.domain == DOMAIN)
    return ir.serde.serialize_model(typed) if count else model


def _cast(node: ir.Node) -> int:
    """How many outputs of the node were cast."""
    described = operators()[node.op_type].outputs
    read = [
        value
        for value, output in zip(node.outputs, described, strict=True)
        if output.type == "bool" and (value.uses() or value.is_graph_output())
    ]
    for value in read:
        assert node.graph is not None
        name = value.name
        value.name = f"{name}.number"
        cast = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(BOOL))], num_outputs=1, name=f"node:{name}.bool")
        made = cast.outputs[0]
        # The old name: it may be that of an output of the model.
        made.name, made.shape, made.type = name, value.shape, ir.TensorType(BOOL)
        value.replace_all_uses_with(made, replace_graph_outputs=True)
        cast.replace_input_with(0, value)
        node.graph.insert_after(node, cast)
    return len(read)
