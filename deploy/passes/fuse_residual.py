"""The sum of a residual block becomes part of the adder convolution before it (AdderConv2dAdd)."""

from __future__ import annotations

import onnx_ir as ir

from adroit.deploy.passes.graph import is_operator, replace_node, sole_consumer


def fuse_residual(graph: ir.Graph) -> int:
    """Add(AdderConv2d(...), other) of equal shapes to AdderConv2dAdd(..., other)."""
    return sum(_fuse(node) for node in list(graph) if node.op_type == "Add" and node.domain == "")


def _fuse(add: ir.Node) -> bool:
    first, second = add.inputs
    if first is None or second is None or first.shape is None or first.shape != second.shape:
        return False
    if any(isinstance(d, ir.SymbolicDim) and d.value is None for d in first.shape):
        return False  # two unknown sizes are not the same size
    # Where both terms are adder convolutions (a strided shortcut), the first one takes the sum in.
    for term, other in ((first, second), (second, first)):
        adder = term.producer()
        if adder is None or not is_operator(adder, "AdderConv2d") or sole_consumer(term) is not add:
            continue
        if adder.attributes["activation"].as_int() != 0:
            continue
        fused = ir.Node(
            adder.domain,
            "AdderConv2dAdd",
            [*adder.inputs, other],
            list(adder.attributes.values()),
            name=adder.name,
            metadata_props=dict(add.metadata_props),
        )
        replace_node(add, fused)
        assert fused.graph is not None
        fused.graph.remove(adder, safe=True)
        return True
    return False
