"""Counts the operations of an ONNX model, layer by layer, by the formula of each operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx
import onnx_ir as ir
from onnx import NodeProto, shape_inference

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.rules import attributes_of, operator_rules
from adroit.deploy.operators.schemas import register_schemas
from adroit.errors import UnsupportedModel
from adroit.models.networks.architectures import architecture_named
from adroit.models.operators.counts import (
    OperationCounts,
    bilinear_counts,
    convolution_counts,
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerCounts:
    """The operations of one node of the graph; `shape` is that of its first output."""

    node: str
    operator: str
    shape: Shape
    counts: OperationCounts


def count_model(model: onnx.ModelProto, input_shapes: Mapping[str, Sequence[int]]) -> list[LayerCounts]:
    """Counts every node that computes, in graph order; arithmetic on sizes is none of them.

    Args:
        model: with adroit's operators (not the portable form).
        input_shapes: the shape to count for, by input name.

    Raises:
        UnsupportedModel: an operator without a formula, or a shape that cannot be inferred.
    """
    sized = _at_size(model, input_shapes)
    shapes = _infer_shapes(sized)
    layers = []
    for node in sized.graph.node:
        formula = _formula(node)
        try:
            inputs = [shapes[name] for name in node.input if name]
            outputs = [shapes[name] for name in node.output if name]
        except KeyError as error:
            raise UnsupportedModel(f"the shape of {error} is not known", facts={"node": node.name}) from None
        counts = formula(node, inputs, outputs)
        if counts.total:
            layers.append(LayerCounts(node.name, node.op_type, outputs[0], counts))
    return layers


def count_deployment(deployment: Deployment, batch: int, size: tuple[int, int]) -> list[LayerCounts]:
    """Counts a deployment for `batch` images of `size` (height, width).

    A portable deployment has no operators left to count, so the network that it was exported from is counted.

    Raises:
        UsageError, UnsupportedModel: as Deployment.load_model and, for a portable one, load_reference.
    """
    info = deployment.info
    if info.form == "portable":
        from adroit.deploy.export.graph import export_graph
        from adroit.deploy.runtimes.torch_runtime import load_reference

        any_size = architecture_named(info.architecture).any_size
        model = export_graph(load_reference(deployment), len(info.preprocessing.mean), info.input_size, any_size)
    else:
        model = deployment.load_model()
    return count_model(model, {info.inputs[0].name: (batch, len(info.preprocessing.mean), *size)})


def total_counts(layers: Sequence[LayerCounts]) -> OperationCounts:
    """Adds up the counts of all layers."""
    return sum((layer.counts for layer in layers), OperationCounts())


def _at_size(model: onnx.ModelProto, input_shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """Returns a copy for inputs of these shapes, in which values computed from sizes are constants."""
    from onnxscript.optimizer import fold_constants

    register_schemas()
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    # The exporter's notes name free dimensions; inferred anew they become numbers.
    del fixed.graph.value_info[:]
    for value in fixed.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        for dimension, number in zip(dimensions, input_shapes[value.name], strict=True):
            dimension.dim_value = number
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    folded = ir.from_proto(fixed)
    fold_constants(folded)
    return ir.to_proto(folded)


def _infer_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    shapes: dict[str, Shape] = {t.name: tuple(t.dims) for t in model.graph.initializer}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dimensions):
            shapes[value.name] = tuple(d.dim_value for d in dimensions)
    return shapes


Formula = Callable[[NodeProto, list[Shape], list[Shape]], OperationCounts]


def _attribute(node: NodeProto, name: str) -> list[int]:
    for attribute in node.attribute:
        if attribute.name == name:
            return list(attribute.ints) or [attribute.i]
    return []


def _convolution(node: NodeProto, inputs: list[Shape], outputs: list[Shape]) -> OperationCounts:
    return convolution_counts(inputs[1], outputs[0], bias=len(inputs) > 2)


def _resize(node: NodeProto, inputs: list[Shape], outputs: list[Shape]) -> OperationCounts:
    mode = next((a.s for a in node.attribute if a.name == "mode"), b"nearest")
    if mode != b"linear" or len(outputs[0]) != 4:
        raise UnsupportedModel(f"only bilinear Resize is counted, not {mode.decode()}", facts={"node": node.name})
    return bilinear_counts(outputs[0])


def _gemm(node: NodeProto, inputs: list[Shape], outputs: list[Shape]) -> OperationCounts:
    weight = inputs[1] if _attribute(node, "transB") == [1] else inputs[1][::-1]
    return convolution_counts(weight, outputs[0], bias=len(inputs) > 2)


def _pool(node: NodeProto, inputs: list[Shape], outputs: list[Shape]) -> OperationCounts:
    return OperationCounts(elementwise=prod(outputs[0]) * prod(_attribute(node, "kernel_shape")))


def _per_input(node: NodeProto, inputs: list[Shape], outputs: list[Shape]) -> OperationCounts:
    return OperationCounts(elementwise=prod(inputs[0]))


def _per_output(node: NodeProto, inputs: list[Shape], outputs: list[Shape]) -> OperationCounts:
    return OperationCounts(elementwise=prod(outputs[0]))


def _nothing(node: NodeProto, inputs: list[Shape], outputs: list[Shape]) -> OperationCounts:
    return OperationCounts()


_FORMULAS: Mapping[str, Formula] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "Resize": _resize,
    **{name: _pool for name in ("MaxPool", "AveragePool")},
    **{name: _per_input for name in ("ReduceMean", "ReduceSum", "GlobalAveragePool")},
    **{
        name: _per_output
        for name in (
            "Relu",
            "LeakyRelu",
            "Add",
            "Sub",
            "Mul",
            "Div",
            "BatchNormalization",
            "Clip",
            "Max",
            "QuantizeLinear",
        )
    },
    "DequantizeLinear": _per_output,
    **{
        name: _nothing
        for name in (
            "Reshape",
            "Flatten",
            "Identity",
            "Constant",
            "Transpose",
            "Squeeze",
            "Unsqueeze",
            "Shape",
            "Gather",
            "Concat",
            "Slice",
            "Cast",
            "Pad",
        )
    },
}


def _formula(node: NodeProto) -> Formula:
    rules = operator_rules().get(node.op_type) if node.domain == DOMAIN else None
    rule = rules.counts if rules else None
    if rule:
        return lambda node, inputs, outputs: rule(attributes_of(node), inputs, outputs)
    formula = _FORMULAS.get(node.op_type) if node.domain == "" else None
    if formula:
        return formula
    where = f"deploy/operators/, beside its other rules ({node.op_type})" if node.domain == DOMAIN else ""
    raise UnsupportedModel(
        f"operations of {node.domain or 'ai.onnx'}::{node.op_type} cannot be counted",
        facts={"node": node.name},
        hint=f"add its formula to {where or 'deploy/measure/counts.py'}",
    )
