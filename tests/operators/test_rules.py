"""Every operator has its rules for the toolchain: shapes, counts, translation, rounding."""

from __future__ import annotations

import onnx
import pytest

from adroit.deploy.operators.definitions import Operator, operators
from adroit.deploy.operators.rules import operator_rules, rounding_rules, translations
from adroit.deploy.operators.schemas import schema_of

EVERY = pytest.mark.parametrize("operator", operators().values(), ids=lambda o: o.name)
# Networks with branches are counted by their routes.
NOT_COUNTED = {"RoutingDecision"}


def test_rules_and_descriptions_are_of_the_same_operators() -> None:
    assert set(operator_rules()) == set(operators())


@EVERY
def test_each_is_counted_and_has_shape_inference(operator: Operator) -> None:
    rules = operator_rules()[operator.name]
    assert (rules.counts is None) == (operator.name in NOT_COUNTED)
    assert schema_of(operator.name).has_type_and_shape_inference_function
    unknown = [[onnx.TensorShapeProto.Dimension() for _ in value.shape] for value in operator.inputs]
    attributes = {
        a.name: [a.minimum] * a.length if a.type == "ints" else a.minimum for a in operator.attributes.values()
    }
    shapes = rules.output_shapes(unknown, attributes)
    assert [len(shape) for shape in shapes] == [len(value.shape) for value in operator.outputs]


@EVERY
def test_each_torch_operator_is_translated_and_has_a_rounding_rule(operator: Operator) -> None:
    rules = operator_rules()[operator.name]
    if rules.torch_operator is None:
        return
    packet = rules.torch_operator.packet()
    assert packet.default in translations()
    assert (packet in rounding_rules()) != rules.every_bit_defined


@EVERY
def test_where_every_bit_is_defined_there_is_a_computation(operator: Operator) -> None:
    rules = operator_rules()[operator.name]
    assert rules.compute or not rules.every_bit_defined
