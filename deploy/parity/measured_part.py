"""A float part of a quantized model that has operators without a computation in segments.py: its limit is measured.

onnx's own reference evaluator computes the part in float64 and once more in float32; how far the two are apart tells
how far another float32 implementation may be.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.rules import operator_rules
from adroit.deploy.parity.segments import nodes_between
from adroit.deploy.parity.tolerance import SAFETY, UNIT_ROUNDOFF
from adroit.errors import UnsupportedModel

# Of the root mean square of the difference: one element of many thousands lies several of them away.
_FACTOR = 4 * SAFETY


class MeasuredPart:
    """The nodes between some values of a model and one that follows from them.

    Args:
        model: with the bodies of adroit's operators. inputs: names of the values that are given. output: wanted.
    """

    def __init__(self, model: onnx.ModelProto, inputs: Collection[str], output: str) -> None:
        from onnx.reference import ReferenceEvaluator

        nodes, self.inputs = nodes_between(model.graph, inputs, output)
        self.operators = {f"{node.domain or 'ai.onnx'}::{node.op_type}" for node in nodes}
        self._output = output
        ours = [_operator(name) for name in sorted({node.op_type for node in nodes if node.domain == DOMAIN})]
        self._evaluators: dict[type[np.floating], Any] = {}
        for dtype in (np.float64, np.float32):
            part = onnx.ModelProto()
            part.CopyFrom(model)
            del part.graph.node[:], part.graph.output[:], part.graph.input[:], part.graph.value_info[:]
            part.graph.node.extend(nodes)
            part.graph.input.extend(onnx.ValueInfoProto(name=name) for name in self.inputs)
            part.graph.output.append(onnx.ValueInfoProto(name=output))
            del part.functions[:]  # adroit's operators are computed by their own rules, in either type
            _retype(part.graph, dtype)
            self._evaluators[dtype] = ReferenceEvaluator(part, new_ops=ours)

    def run(self, values: Tensors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The output in float64, and its limit, element by element.

        Args:
            values: at least `inputs`, by name.
        """
        exact, short = (
            evaluator.run([self._output], {name: _cast(values[name], dtype) for name in self.inputs})[0]
            for dtype, evaluator in self._evaluators.items()
        )
        reference = np.asarray(exact, np.float64)
        difference = np.abs(reference - np.asarray(short, np.float64))
        spread = np.sqrt(np.mean(difference**2))
        limit = UNIT_ROUNDOFF["float32"] * np.abs(reference) + np.maximum(_FACTOR * spread, SAFETY * difference)
        return reference, limit


def _cast(value: NDArray[np.generic], dtype: type[np.floating]) -> NDArray[np.generic]:
    return value.astype(dtype) if value.dtype.kind == "f" else value


def _operator(name: str) -> type:
    """adroit's operator `name` for onnx's evaluator."""
    import torch
    from onnx.reference.op_run import OpRun

    compute = operator_rules()[name].compute
    if compute is None:
        raise UnsupportedModel(f"{name} cannot be computed in float64, so the quantized deployment cannot be checked")

    def run(self: Any, *inputs: NDArray[Any], **attributes: Any) -> tuple[NDArray[Any]]:
        return (compute(attributes, *(torch.from_numpy(value) for value in inputs)).numpy(),)

    return type(name, (OpRun,), {"op_domain": DOMAIN, "_run": run})


def _retype(graph: onnx.GraphProto, dtype: type[np.floating]) -> None:
    """Makes constants and casts of float type `dtype`."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = kind
    for tensor in graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype.kind == "f":
            tensor.CopyFrom(numpy_helper.from_array(value.astype(dtype), tensor.name))
