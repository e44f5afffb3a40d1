"""An ONNX model at one size of its inputs, and the shapes of its values there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import numpy_helper, shape_inference

from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.schemas import register_schemas
from adroit.deploy.runtimes.onnxruntime_package import import_onnxruntime
from adroit.errors import EnvironmentFault

Shape: TypeAlias = tuple[int, ...]
# Constants of up to so many elements are read.
SMALL = 16


def model_at_size(model: onnx.ModelProto, input_shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """Returns a copy for inputs of these shapes, as far as it can be simplified and shapes can be inferred.

    Values computed from sizes are constants, and local functions are replaced by their bodies, but for adroit's own.
    An input that is not named keeps the shape that the model declares.
    """
    register_schemas()
    fixed = onnx.ModelProto()
    fixed.CopyFrom(_without_functions(model))
    # The exporter's notes name free dimensions; inferred anew they become numbers.
    del fixed.graph.value_info[:]
    for value in fixed.graph.input:
        if value.name in input_shapes:
            dimensions = [onnx.TensorShapeProto.Dimension(dim_value=number) for number in input_shapes[value.name]]
            value.type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto(dim=dimensions))
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    for node in fixed.graph.node:  # else each would be named by a number
        node.name = node.name or next(filter(None, node.output), "")
    return _folded(fixed)


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Computes constants and infers shapes in turns: each finds what the other needs, such as a Shape's input."""
    from onnxscript.optimizer import fold_constants

    left = -1
    while True:
        try:
            folded = ir.from_proto(model)
            fold_constants(folded)
            model = shape_inference.infer_shapes(ir.to_proto(folded), data_prop=True)
        except Exception:  # of another tool's file that these tools cannot read; what was found until here is used
            return model
        shapes = known_shapes(model.graph)
        before, left = left, sum(node.op_type == "Shape" and node.input[0] in shapes for node in model.graph.node)
        if not left or left == before:
            return model


def known_shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Returns the shapes of the graph's own values that are numbers throughout."""
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dimensions):
            shapes[value.name] = tuple(d.dim_value for d in dimensions)
    return shapes


def shapes_by_runtime(model: onnx.ModelProto, names: Iterable[str]) -> dict[str, Shape]:
    """Returns the shapes that ONNX Runtime infers for values of the main graph, of its own operators too.

    Nothing runs. It is empty where ONNX Runtime is not installed or cannot load the model.
    """
    try:
        onnxruntime = import_onnxruntime()
    except EnvironmentFault:
        return {}
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    present = {value.name for value in extended.graph.output}
    extended.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session: Any = onnxruntime.InferenceSession(
            extended.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
    except Exception:  # its exceptions have no base of their own; the message would be too large for protobuf
        return {}
    shapes = {value.name: value.shape for value in session.get_outputs()}
    return {
        name: tuple(shape)
        for name, shape in shapes.items()
        if shape and all(isinstance(size, int) for size in shape)  # [] stands for an unknown rank too
    }


def small_constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Returns the graph's constants of up to SMALL elements."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.domain == "":
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
    return {
        name: numpy_helper.to_array(tensor)
        for name, tensor in tensors.items()
        if np.prod(tensor.dims, dtype=np.int64) <= SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL
    }


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    own = [(function.domain, function.name) for function in model.functions if function.domain == DOMAIN]
    if len(own) == len(model.functions):
        return model
    return onnx.inliner.inline_selected_functions(model, own, exclude=True)
