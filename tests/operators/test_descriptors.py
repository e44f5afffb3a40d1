"""operators.toml, portable bodies, schemas and the native library tell the same of every operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, RuntimeException

from adroit.deploy.operators.definitions import DOMAIN, Operator, operators, portable_body, session_operators
from adroit.deploy.operators.schemas import schema_of
from tests.operators.harness import bodies_used_by, node_model, run_node

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


@pytest.mark.parametrize("operator", [*operators().values(), *session_operators().values()], ids=lambda o: o.name)
def test_the_native_library_refuses_attributes_out_of_range(operator: Operator) -> None:
    """Also proves that the library has the operator and reads every attribute by its described name."""
    inputs = {v.name: np.ones([1] * len(v.shape), v.type or operator.types[0]) for v in operator.inputs}
    bodies = bodies_used_by(operator.name)
    for name, attribute in operator.attributes.items():
        for wrong in (_below(attribute.minimum), _above(attribute.maximum)):
            values = {
                **_valid_attributes(operator),
                name: [wrong] * attribute.length if attribute.length > 1 else wrong,
            }
            model = node_model(operator.name, inputs, values, (), bodies)
            if operator.outputs[0].type_from == name:
                # No type has such a number. X's makes a model that loads as far as the attribute.
                model.graph.output[0].type.tensor_type.elem_type = model.graph.input[0].type.tensor_type.elem_type
            with pytest.raises((InvalidArgument, RuntimeException), match=name):
                run_node(model, inputs, "native")


def _valid_attributes(operator: Operator) -> dict[str, Any]:
    """The least of each, but a zero point of 0: what is valid depends on the type of X."""
    least = {name: 0 if "zero_point" in name else a.minimum for name, a in operator.attributes.items()}
    return {
        name: [v] * operator.attributes[name].length if operator.attributes[name].length > 1 else v
        for name, v in least.items()
    }


def _below(limit: float) -> float:
    return limit - 1 if isinstance(limit, int) else limit / 2


def _above(limit: float) -> float:
    return limit + 1 if isinstance(limit, int) else limit * 2
