"""ONNX schemas of adroit's operators, with shape inference, made from operators.toml."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import onnx
from onnx.defs import OpSchema, register_schema

from adroit.deploy.operators.definitions import DOMAIN, Operator, Value, operators
from adroit.deploy.operators.rules import Attributes, ShapeRule, operator_rules

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
    rules = operator_rules().get(name)
    if rules:
        schema.set_type_and_shape_inference_function(functools.partial(_infer, described, rules.output_shapes))
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


def _infer(described: Operator, output_shapes: ShapeRule, context: InferenceContext) -> None:
    types = [context.get_input_type(i) for i in range(len(described.inputs))]
    if any(not t.tensor_type.HasField("shape") for t in types):
        return
    attributes = {name: onnx.helper.get_attribute_value(context.get_attribute(name)) for name in described.attributes}
    shapes = output_shapes([list(t.tensor_type.shape.dim) for t in types], attributes)
    for index, (output, dimensions) in enumerate(zip(described.outputs, shapes, strict=True)):
        inferred = onnx.TypeProto()
        inferred.tensor_type.elem_type = _element_type(output, types[0].tensor_type.elem_type, attributes)
        inferred.tensor_type.shape.dim.extend(dimensions)
        context.set_output_type(index, inferred)


def _element_type(output: Value, operator_type: int, attributes: Attributes) -> int:
    if output.type_from:
        return int(attributes[output.type_from])
    return int(onnx.TensorProto.BOOL) if output.type == "bool" else operator_type
