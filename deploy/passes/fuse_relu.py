"""ReLU after an adder convolution becomes its activation."""

from __future__ import annotations

import onnx_ir as ir

from adroit.deploy.passes.graph import is_operator, replace_node, sole_consumer


def fuse_relu(graph: ir.Graph) -> int:
    """Relu(AdderConv2d*(activation=0)) to AdderConv2d*(activation=1)."""
    return sum(_fuse(node) for node in list(graph) if node.op_type == "Relu" and node.domain == "")


def _fuse(relu: ir.Node) -> bool:
    source = relu.inputs[0]
    adder = source.producer() if source is not None else None
    if source is None or adder is None or not is_operator(adder, "AdderConv2d", "AdderConv2dAdd"):
        return False
    if sole_consumer(source) is not relu or adder.attributes["activation"].as_int() != 0:
        return False
    attributes = [a for name, a in adder.attributes.items() if name != "activation"]
    fused = ir.Node(
        adder.domain,
        adder.op_type,
        adder.inputs,
        [*attributes, ir.AttrInt64("activation", 1)],
        name=adder.name,
        metadata_props=dict(relu.metadata_props),
    )
    replace_node(relu, fused)
    assert fused.graph is not None
    fused.graph.remove(adder, safe=True)
    return True
