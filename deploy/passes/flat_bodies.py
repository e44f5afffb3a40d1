"""A portable body without calls of other bodies: NVIDIA's parser loses the attributes of a call in a function."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import onnx

from adroit.deploy.operators.definitions import DOMAIN, portable_body


@functools.cache
def flat_body(name: str) -> onnx.FunctionProto:
    """The operator's portable body, with the bodies that it calls in the place of the calls."""
    flat = onnx.FunctionProto()
    flat.CopyFrom(portable_body(name))
    del flat.node[:]
    for index, node in enumerate(portable_body(name).node):
        flat.node.extend(_inlined(node, f"call_{index}.") if node.domain == DOMAIN else [node])
    imports = [opset for opset in flat.opset_import if opset.domain != DOMAIN]
    del flat.opset_import[:]
    flat.opset_import.extend(imports)
    return flat


def _inlined(call: onnx.NodeProto, prefix: str) -> list[onnx.NodeProto]:
    """The nodes of the body that `call` calls, on the call's values and attributes."""
    body = flat_body(call.op_type)
    names = {value: prefix + value for node in body.node for value in node.output if value}
    names |= dict(zip(body.input, call.input, strict=True)) | dict(zip(body.output, call.output, strict=True))
    given = {attribute.name: attribute for attribute in call.attribute}
    return [_renamed(node, names, given) for node in body.node]


def _renamed(
    node: onnx.NodeProto, names: Mapping[str, str], given: Mapping[str, onnx.AttributeProto]
) -> onnx.NodeProto:
    """A copy with other value names, and with the call's attributes where it refers to the function's."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = ""
    copy.input[:] = [names.get(value, value) for value in node.input]
    copy.output[:] = [names.get(value, value) for value in node.output]
    for attribute in copy.attribute:
        if attribute.ref_attr_name:
            own = attribute.name
            attribute.CopyFrom(given[attribute.ref_attr_name])
            attribute.name = own
        elif attribute.type == onnx.AttributeProto.GRAPH:
            _rename_graph(attribute.g, names, given)
    return copy


def _rename_graph(graph: onnx.GraphProto, names: Mapping[str, str], given: Mapping[str, onnx.AttributeProto]) -> None:
    """In a branch or loop body, values from outside get their new names; its own keep theirs."""
    own = {value.name for value in graph.input} | {value for node in graph.node for value in node.output}
    outer = {old: new for old, new in names.items() if old not in own}
    nodes = [_renamed(node, outer, given) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
