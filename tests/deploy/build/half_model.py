"""What a float16 file means, in terms that ONNX Runtime runs on a CPU."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.operators.definitions import DOMAIN, operators, portable_body


def float_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same computation with our operators in float32 and casts round them: what the plugins do with half."""
    expanded = onnx.ModelProto()
    expanded.CopyFrom(model)
    _expand(expanded.graph)
    names = {node.op_type for node in all_nodes(expanded.graph) if node.domain == DOMAIN}
    bodies = {name: portable_body(name) for name in names}
    bodies |= {n.op_type: portable_body(n.op_type) for b in list(bodies.values()) for n in b.node if n.domain == DOMAIN}
    del expanded.functions[:]
    expanded.functions.extend(bodies.values())
    return expanded


def _expand(graph: onnx.GraphProto) -> None:
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _expand(attribute.g)
        if node.domain != DOMAIN:
            nodes.append(node)
            continue
        described = operators()[node.op_type]
        after = []
        for kind, values in (("input", described.inputs), ("output", described.outputs)):
            names = getattr(node, kind)
            for index, value in enumerate(values):
                if value.name not in described.half:
                    continue
                old, new = names[index], f"{node.name}/{value.name}.float"
                names[index] = new
                if kind == "input":
                    nodes.append(helper.make_node("Cast", [old], [new], to=TensorProto.FLOAT))
                else:
                    after.append(helper.make_node("Cast", [new], [old], to=TensorProto.FLOAT16))
        nodes += [node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
