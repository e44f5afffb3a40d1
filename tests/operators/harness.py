"""Runs one operator node through ONNX Runtime, by its portable body or by the native library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from adroit.deploy.operators.definitions import DOMAIN, Value, operators, portable_body, session_operators
from adroit.deploy.runtimes.native import native_library
from adroit.errors import EnvironmentFault

FORMS = ["portable", "native"]


def bodies_used_by(operator: str) -> list[str]:
    """The other operators of ours that the portable body is written with, and those that theirs are."""
    if operator not in operators():
        return []
    used = [n.op_type for n in portable_body(operator).node if n.domain == DOMAIN]
    return used + [deeper for name in used for deeper in bodies_used_by(name)]


def _output_type(value: Value, attributes: Mapping[str, Any]) -> int:
    if value.type_from:
        return int(attributes[value.type_from])
    return onnx.TensorProto.BOOL if value.type == "bool" else onnx.TensorProto.FLOAT


def node_model(
    operator: str,
    inputs: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
    constants: Sequence[str] = (),
    bodies: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model of one node; the inputs named in `constants` become initializers."""
    described = {**operators(), **session_operators()}[operator]
    assert list(inputs) == [v.name for v in described.inputs]
    node = helper.make_node(operator, list(inputs), [v.name for v in described.outputs], domain=DOMAIN, **attributes)
    graph = helper.make_graph(
        [node],
        "one_node",
        [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), [None] * v.ndim)
            for k, v in inputs.items()
            if k not in constants
        ],
        [
            helper.make_tensor_value_info(v.name, _output_type(v, attributes), [None] * len(v.shape))
            for v in described.outputs
        ],
        [numpy_helper.from_array(inputs[k], k) for k in constants],
    )
    return helper.make_model(
        graph,
        functions=[portable_body(name) for name in (operator, *bodies) if name in operators()],
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)],
        ir_version=10,
    )


def run_node(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], form: str, threads: int = 2) -> list[np.ndarray]:
    """Outputs in order. Skips where the native library is not built."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if form == "native":
        try:
            options.register_custom_ops_library(str(native_library()))
        except EnvironmentFault as error:
            pytest.skip(error.message)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = {i.name for i in session.get_inputs()}
    return session.run(None, {k: v for k, v in feeds.items() if k in names})
