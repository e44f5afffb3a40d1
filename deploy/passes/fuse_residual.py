"""The sum of a residual block becomes part of the adder convolution before it (AdderConv2dAdd)."""

from __future__ import annotations

import onnx_ir as ir

from adroit.deploy.passes.graph import is_operator, only_source, replace_pair


def fuse_residual(graph: ir.Graph) -> int:
    """Add(AdderConv2d(...), other) of equal shapes becomes AdderConv2dAdd(..., other), in branches too."""
    nodes = [node for node in graph.all_nodes() if node.op_type == "Add" and node.domain == ""]
    return sum(_fuse(node) for node in nodes)


def _fuse(add: ir.Node) -> bool:
    first, second = add.inputs
    if first is None or second is None or not _same_shape(first, second):
        return False
    # Where both terms are adder convolutions (a strided shortcut), the first one takes the sum in.
    for term, other in ((first, second), (second, first)):
        adder = only_source(term, add)
        if adder is None or not is_operator(adder, "AdderConv2d") or adder.attributes["activation"].as_int() != 0:
            continue
        replace_pair(adder, add, "AdderConv2dAdd", [*adder.inputs, other], adder.attributes.values())
        return True
    return False


def _same_shape(first: ir.Value, second: ir.Value) -> bool:
    """Whether both are known to have one shape: the operator's residual does not broadcast."""
    if first.shape is None or first.shape != second.shape:
        return False
    # Two unknown sizes are not the same size.
    return not any(isinstance(d, ir.SymbolicDim) and d.value is None for d in first.shape)
