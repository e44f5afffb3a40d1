"""operators.toml, portable bodies, schemas and the native library tell the same of every operator."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, RuntimeException

from deploy.operators import DOMAIN, Operator, operators, portable_body
from deploy.schemas import schema_of
from tests.operators.harness import node_model, run_node

EVERY = pytest.mark.parametrize("operator", operators().values(), ids=lambda o: o.name)


@EVERY
def test_the_body_has_the_described_signature(operator: Operator) -> None:
    body = portable_body(operator.name)
    assert body.domain == DOMAIN
    assert list(body.input) == [v.name for v in operator.inputs]
    assert list(body.output) == [v.name for v in operator.outputs]
    assert set(body.attribute) == set(operator.attributes)


@EVERY
def test_the_body_is_made_of_standard_operators_and_ours(operator: Operator) -> None:
    for node in portable_body(operator.name).node:
        assert node.domain == "" or node.op_type in operators()
        if node.domain == "":
            assert onnx.defs.has(node.op_type, 18, "")


@EVERY
def test_the_schema_has_the_described_signature(operator: Operator) -> None:
    schema = schema_of(operator.name)
    assert schema.since_version == operator.version
    assert [v.name for v in schema.inputs] == [v.name for v in operator.inputs]
    required = {name for name, a in schema.attributes.items() if a.required}
    assert required == set(operator.attributes)


@EVERY
def test_the_native_library_refuses_attributes_out_of_range(operator: Operator) -> None:
    """Also proves that the library has the operator and reads every attribute by its described name."""
    inputs = {v.name: np.ones([1] * len(v.shape), np.float32) for v in operator.inputs}
    right = {name: [a.minimum] * a.length if a.type == "ints" else a.minimum for name, a in operator.attributes.items()}
    bodies = [n.op_type for n in portable_body(operator.name).node if n.domain == DOMAIN]
    for name, attribute in operator.attributes.items():
        for wrong in (attribute.minimum - 1, attribute.maximum + 1):
            values = {**right, name: [wrong] * attribute.length if attribute.type == "ints" else wrong}
            model = node_model(operator.name, inputs, values, (), bodies)
            with pytest.raises((InvalidArgument, RuntimeException), match=name):
                run_node(model, inputs, "native")
