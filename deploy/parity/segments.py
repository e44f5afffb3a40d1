"""Turns parts of an ONNX graph into PyTorch modules, so that they can be computed in float64, with limits.

The operators known here are those that stay in float32 in a quantized adder network: the first and last layers,
pooling, and adder layers that were not quantized.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.rules import Attributes, attributes_of, operator_rules
from adroit.errors import UnsupportedModel

# An operator's attributes and inputs to its output, in its inputs' type.
Operation = Callable[..., Tensor]


class Segment(nn.Module):
    """The nodes between some values and one that follows from them.

    Args:
        graph: a model's. inputs: names of the values that are given. output: name of the value wanted.

    Raises:
        UnsupportedModel: an operator that is not known here.
    """

    def __init__(self, graph: onnx.GraphProto, inputs: Collection[str], output: str) -> None:
        super().__init__()
        constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self._nodes, self.inputs = nodes_between(graph, inputs, output)
        for node in self._nodes:
            _operation_of(node)
        read = {name for node in self._nodes for name in node.input} | {output}
        self._constants = {name: torch.from_numpy(constants[name].copy()) for name in sorted(read & constants.keys())}
        self._output = output

    def forward(self, *given: Tensor) -> Tensor:
        """Computes the output in float64 from the values of `inputs`, in their order."""
        values = dict(zip(self.inputs, given, strict=True)) | self._constants
        for node in self._nodes:
            inputs = [in_float64(values[name]) for name in node.input if name]
            values[node.output[0]] = _operation_of(node)(attributes_of(node), *inputs)
        return in_float64(values[self._output])


def nodes_between(
    graph: onnx.GraphProto, inputs: Collection[str], output: str
) -> tuple[list[onnx.NodeProto], list[str]]:
    """The nodes that `output` needs where `inputs` are given, in graph order, and those inputs that they read."""
    producers = {name: node for node in graph.node for name in node.output}
    constants = {t.name for t in graph.initializer}
    needed: set[str] = set()
    pending = [output]
    while pending:
        name = pending.pop()
        if name not in inputs and name not in constants and name not in needed:
            needed.add(name)
            pending += [given for given in producers[name].input if given]
    nodes = [node for node in graph.node if needed & set(node.output)]
    read = {name for node in nodes for name in node.input} | {output}
    return nodes, [name for name in inputs if name in read]


def in_float64(value: Tensor) -> Tensor:
    """Casts floats to float64; integers, which may be sizes, stay as they are."""
    return value.double() if value.is_floating_point() else value


def _operation_of(node: onnx.NodeProto) -> Operation:
    rules = operator_rules().get(node.op_type) if node.domain == DOMAIN else None
    ours = rules.compute if rules and not rules.every_bit_defined else None
    operation = ours or (_OPERATIONS.get(node.op_type) if node.domain == "" else None)
    if operation is None:
        raise UnsupportedModel(
            f"{node.op_type} cannot be computed in float64 here, so the quantized deployment cannot be checked",
            facts={"node": node.name},
            hint="add it to deploy/parity/segments.py",
        )
    return operation


def _convolution(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.conv2d(
        x, weight, bias, a.get("strides", 1), _padding(a), a.get("dilations", 1), a.get("group", 1)
    )


def _padding(a: Attributes) -> list[int]:
    """Returns the padding of both dimensions; every network here pads both sides alike."""
    top, left, bottom, right = a.get("pads", [0] * 4)
    if (top, left) != (bottom, right):
        raise UnsupportedModel(f"padding {a['pads']} differs between the sides, which no network of adroit's does")
    return [top, left]


def _gemm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.linear(x, weight if a.get("transB") else weight.T, bias)


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    return functional.max_pool2d(x, a["kernel_shape"], a.get("strides", 1), _padding(a))


def _reduce_mean(a: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    return x.mean(axes.tolist(), keepdim=bool(a.get("keepdims", 1)))


def _dequantize(a: Attributes, x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    if scale.dim():  # one for each channel of a weight
        column = [-1 if axis == a.get("axis", 1) else 1 for axis in range(x.dim())]
        scale, zero_point = scale.view(column), zero_point.view(column)
    return (x.double() - zero_point.double()) * scale


_OPERATIONS: Mapping[str, Operation] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MaxPool": _max_pool,
    "ReduceMean": _reduce_mean,
    "Relu": lambda a, x: x.relu(),
    "Max": lambda a, x, low: x.clamp(min=float(low)),
    "Add": lambda a, x, y: x + y,
    "Reshape": lambda a, x, shape: x.reshape(shape.tolist()),
    "DequantizeLinear": _dequantize,
}
