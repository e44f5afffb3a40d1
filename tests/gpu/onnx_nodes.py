"""ONNX models of one node for each operator of ours, in each type that it has, and their inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from adroit.deploy.operators.definitions import DOMAIN, operators

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Node:
    """An operator with attributes, and its inputs in order. The outputs' types are float32 but for `types`."""

    name: str
    operator: str
    attributes: Mapping[str, Any]
    inputs: Arrays
    types: Mapping[str, int] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        return self.operator.startswith("Q")

    def model(self) -> onnx.ModelProto:
        """Without the portable body: only a kernel of ours can run it. What X meets are constants, as in a network."""
        outputs = [value.name for value in operators()[self.operator].outputs]
        first, *others = self.inputs
        node = helper.make_node(self.operator, list(self.inputs), outputs, domain=DOMAIN, **self.attributes)
        x = self.inputs[first]
        graph = helper.make_graph(
            [node],
            "one_node",
            [helper.make_tensor_value_info(first, helper.np_dtype_to_tensor_dtype(x.dtype), [None] * x.ndim)],
            [
                helper.make_tensor_value_info(name, self.types.get(name, onnx.TensorProto.FLOAT), None)
                for name in outputs
            ],
            [onnx.numpy_helper.from_array(self.inputs[name], name) for name in others],
        )
        imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _adder(residual: bool) -> Node:
    inputs = {"X": _normal(0, 2, 17, 13, 11), "W": _normal(1, 9, 17, 3, 3)}
    inputs |= {"scale": 0.05 * _normal(2, 9), "shift": 5.0 * _normal(3, 9)}
    attributes = {"strides": [2, 1], "pads": [1, 0, 2, 1], "activation": int(residual)}
    if not residual:
        return Node("AdderConv2d", "AdderConv2d", attributes, inputs)
    return Node("AdderConv2dAdd", "AdderConv2dAdd", attributes, inputs | {"residual": _normal(4, 2, 9, 7, 10)})


def _quantized(residual: bool, kind: type[np.integer], quantized: bool) -> Node:
    random, limits = np.random.default_rng(5), np.iinfo(kind)

    def integers(*shape: int) -> np.ndarray:
        return random.integers(limits.min, limits.max, shape, kind, endpoint=True)

    zero = limits.min + 100
    inputs = {"X": integers(2, 17, 13, 11), "W": integers(9, 17, 3, 3)}
    inputs |= {"scale": 0.001 * _normal(2, 9), "shift": 5.0 * _normal(3, 9)}
    attributes = {"strides": [2, 1], "pads": [1, 0, 2, 1], "activation": int(residual), "x_zero_point": zero}
    output = helper.np_dtype_to_tensor_dtype(np.dtype(kind)) if quantized else onnx.TensorProto.FLOAT
    attributes |= {"output_type": output, "output_scale": 0.25, "output_zero_point": zero + 20}
    if residual:
        inputs["residual"] = integers(2, 9, 7, 10)
        attributes |= {"residual_scale": 0.03125, "residual_zero_point": zero + 3}
    operator = "QAdderConv2dAdd" if residual else "QAdderConv2d"
    name = f"{operator} {np.dtype(kind)} to {np.dtype(kind) if quantized else 'float32'}"
    return Node(name, operator, attributes, inputs, {"Y": output})


def _filter(joint: int) -> Node:
    inputs = {"X": _normal(0, 2, 6, 9, 11), "logits": 3.0 * _normal(1, 2, 3 * 9, 5, 6)}
    attributes = {"kernel_size": 3, "stride": 2, "groups": 3, "joint_softmax": joint}
    return Node(f"AdaptiveFilter, joint {joint}", "AdaptiveFilter", attributes, inputs)


def _gate(shrink: int, threshold: list[float]) -> Node:
    inputs = {"X": _normal(0, 3, 12, 17, 14), "W1": 0.4 * _normal(1, 6, 12), "b1": 0.3 * _normal(2, 6)}
    inputs |= {"W2": 0.6 * _normal(3, 3, 6), "b2": np.array([0.7, -0.9, 0.3], np.float32)}
    inputs["threshold"] = np.array(threshold, np.float32)
    types = {"open": onnx.TensorProto.BOOL}
    return Node(f"RoutingGate, shrink {shrink}", "RoutingGate", {"shrink": shrink}, inputs, types)


def _decision() -> Node:
    """Two nodes of one path each; the kernel is the CPU's in every session."""
    inputs = {"gates": np.array([[0.5, 0.0], [0.0, 0.0]], np.float32), "live": np.ones((2, 2), np.float32)}
    inputs |= {"belongs": np.eye(2, dtype=np.float32), "reach": np.abs(_normal(0, 8, 3)), "shown": np.ones((8, 1))}
    inputs["shown"] = inputs["shown"].astype(np.float32)
    return Node("RoutingDecision", "RoutingDecision", {}, inputs, {"flags": onnx.TensorProto.BOOL})


NODES = [
    *(_adder(residual) for residual in (False, True)),
    *(_quantized(r, k, q) for r in (False, True) for k in (np.uint8, np.int8) for q in (True, False)),
    *(_filter(joint) for joint in (0, 1)),
    _gate(1, [0.1]),
    _gate(4, [0.0, 0.2, 0.5]),
]
WITHOUT_CUDA = _decision()


def standard_model() -> onnx.ModelProto:
    """A model of standard operators: whether a provider starts at all."""
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "standard", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
