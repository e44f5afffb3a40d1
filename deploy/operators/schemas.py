"""ONNX schemas of adroit's operators, with shape inference, made from operators.toml."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import onnx
from onnx.defs import OpSchema, register_schema

from adroit.deploy.operators.definitions import DOMAIN, Operator, Value, operators
from adroit.models.operators.shapes import convolved_size

if TYPE_CHECKING:
    # onnx gives the class no public name.
    InferenceContext = Any

_KINDS = {"int": OpSchema.AttrType.INT, "ints": OpSchema.AttrType.INTS, "float": OpSchema.AttrType.FLOAT}
_ONNX_TYPES = {"float32": "float", "float16": "float16", "uint8": "uint8", "int8": "int8", "bool": "bool"}


@functools.cache
def schema_of(name: str) -> OpSchema:
    """The operator's schema; `plugin_namespace` and `plugin_version` are TensorRT's marks on its nodes."""
    described = operators()[name]
    attributes = [OpSchema.Attribute(a.name, _KINDS[a.type], required=True) for a in described.attributes.values()]
    attributes += [
        OpSchema.Attribute(mark, OpSchema.AttrType.STRING, required=False)
        for mark in ("plugin_namespace", "plugin_version")
    ]
    schema = OpSchema(
        name,
        DOMAIN,
        described.version,
        doc=described.summary,
        inputs=[_parameter(v) for v in described.inputs],
        outputs=[_parameter(v) for v in described.outputs],
        type_constraints=_type_constraints(described),
        attributes=attributes,
    )
    if name in SHAPES:
        schema.set_type_and_shape_inference_function(functools.partial(_infer, described))
    return schema


def _parameter(value: Value) -> OpSchema.FormalParameter:
    if value.type:
        return OpSchema.FormalParameter(value.name, f"tensor({_ONNX_TYPES[value.type]})")
    return OpSchema.FormalParameter(value.name, "TOut" if value.type_from else "T")


def _type_constraints(described: Operator) -> list[tuple[str, list[str], str]]:
    kinds = [f"tensor({_ONNX_TYPES[t]})" for t in described.types]
    constraints = [("T", kinds, "")]
    if any(v.type_from for v in described.outputs):
        constraints.append(("TOut", ["tensor(float)", *kinds], ""))
    return constraints


@functools.cache
def register_schemas() -> None:
    """Makes the operators known to onnx.checker and onnx.shape_inference in this process."""
    for name in operators():
        register_schema(schema_of(name))


Dimension = onnx.TensorShapeProto.Dimension
Dimensions = list[Dimension]


def _size(value: Dimension, kernel: Dimension, stride: int, begin: int, end: int) -> Dimension:
    if not (value.HasField("dim_value") and kernel.HasField("dim_value")):
        return Dimension()
    return Dimension(dim_value=convolved_size(value.dim_value, kernel.dim_value, stride, begin, end))


def _adder_conv2d(inputs: list[Dimensions], attributes: Mapping[str, list[int]]) -> list[Dimensions]:
    x, w = inputs[:2]
    (stride_h, stride_w), (top, left, bottom, right) = attributes["strides"], attributes["pads"]
    return [[x[0], w[0], _size(x[2], w[2], stride_h, top, bottom), _size(x[3], w[3], stride_w, left, right)]]


def _adaptive_filter(inputs: list[Dimensions], attributes: Mapping[str, list[int]]) -> list[Dimensions]:
    x, logits = inputs
    return [[x[0], x[1], logits[2], logits[3]]]


def _routing_gate(inputs: list[Dimensions], attributes: Mapping[str, list[int]]) -> list[Dimensions]:
    x, w2 = inputs[0], inputs[3]
    return [[x[0], w2[0]], [w2[0]]]


def _routing_decision(inputs: list[Dimensions], attributes: Mapping[str, list[int]]) -> list[Dimensions]:
    gates, live, _, reach, shown = inputs
    return [gates, live, [gates[0], reach[1]], [shown[1]]]


# Operator to a function from input dimensions and attributes (always lists) to output dimensions.
SHAPES: Mapping[str, Callable[[list[Dimensions], Mapping[str, list[int]]], list[Dimensions]]] = {
    "AdderConv2d": _adder_conv2d,
    "AdderConv2dAdd": _adder_conv2d,
    "QAdderConv2d": _adder_conv2d,
    "QAdderConv2dAdd": _adder_conv2d,
    "AdaptiveFilter": _adaptive_filter,
    "RoutingDecision": _routing_decision,
    "RoutingGate": _routing_gate,
}


def _infer(described: Operator, context: InferenceContext) -> None:
    types = [context.get_input_type(i) for i in range(len(described.inputs))]
    if any(not t.tensor_type.HasField("shape") for t in types):
        return
    attributes = {}
    for name, kind in described.attributes.items():
        value = context.get_attribute(name)
        attributes[name] = list(value.ints) if kind.type == "ints" else [value.i]
    shapes = SHAPES[described.name]([list(t.tensor_type.shape.dim) for t in types], attributes)
    for index, (output, dimensions) in enumerate(zip(described.outputs, shapes, strict=True)):
        made = onnx.TypeProto()
        made.tensor_type.elem_type = _element_type(output, types[0].tensor_type.elem_type, attributes)
        made.tensor_type.shape.dim.extend(dimensions)
        context.set_output_type(index, made)


def _element_type(output: Value, operator_type: int, attributes: Mapping[str, list[int]]) -> int:
    if output.type_from:
        return attributes[output.type_from][0]
    return int(onnx.TensorProto.BOOL) if output.type == "bool" else operator_type
