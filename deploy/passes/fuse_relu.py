"""ReLU after an adder convolution becomes its activation."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from adroit.deploy.passes.graph import constant, is_operator, only_source, replace_pair

RANK = 4  # axes of an adder convolution's result


def fuse_relu(graph: ir.Graph) -> int:
    """Relu(AdderConv2d*(activation=0)) becomes AdderConv2d*(activation=1), in branches too."""
    return sum(_fuse(node) for node in list(graph.all_nodes()))


def _rectified(node: ir.Node) -> ir.Value | None:
    """What the node gives the positive part of: a Relu, or what `clamp(min=0)` and `maximum` become; else None."""
    if node.domain != "":
        return None
    if node.op_type == "Relu":
        return node.inputs[0]
    if node.op_type == "Clip" and _is_zero(node.inputs[1:2]) and all(v is None for v in node.inputs[2:]):
        return node.inputs[0]
    if node.op_type == "Max" and len(node.inputs) == 2:
        first, second = node.inputs
        if _is_zero([second]):
            return first
        return second if _is_zero([first]) else None
    return None


def _is_zero(values: Sequence[ir.Value | None]) -> bool:
    """Whether the one value is a constant of one element, and that is 0; so many axes never make a map larger."""
    array = constant(values[0]) if values else None
    return array is not None and array.size == 1 and array.ndim <= RANK and not array.any()


def _fuse(relu: ir.Node) -> bool:
    adder = only_source(_rectified(relu), relu)
    if adder is None or not is_operator(adder, "AdderConv2d", "AdderConv2dAdd"):
        return False
    if adder.attributes["activation"].as_int() != 0:
        return False
    attributes = [attribute for name, attribute in adder.attributes.items() if name != "activation"]
    replace_pair(adder, relu, adder.op_type, adder.inputs, [*attributes, ir.AttrInt64("activation", 1)])
    return True
