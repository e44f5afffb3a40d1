"""Flags that a plugin gives as int32 are bools again for those who read them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph

from adroit.deploy.build.bool_outputs import cast_bool_outputs
from adroit.deploy.build.choices import Precision
from adroit.deploy.build.prepare import prepare
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.operators.definitions import DOMAIN, operators
from tests.deploy.build.half_model import float_operators


def as_plugins_do(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with bodies that give int32 where an operator's output is bool; the float32 operators of half_model."""
    expanded = float_operators(model)
    for function in expanded.functions:
        for index, output in enumerate(operators()[function.name].outputs):
            if output.type == "bool":
                name = function.output[index]
                function.output[index] = f"{name}.number"
                function.node.append(helper.make_node("Cast", [name], [f"{name}.number"], to=TensorProto.INT32))
    return expanded


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def bool_outputs(model: onnx.ModelProto) -> set[str]:
    return {
        name
        for node in all_nodes(model.graph)
        if node.domain == DOMAIN
        for name, output in zip(node.output, operators()[node.op_type].outputs, strict=True)
        if output.type == "bool" and name
    }


@pytest.mark.parametrize("precision", Precision)
def test_the_if_form_computes_the_network_with_int32_flags(precision: Precision, routed_deployment: Deployment) -> None:
    before, after = routed_deployment.load_model(), prepare(routed_deployment, "plugins", precision).model
    onnx.checker.check_model(float_operators(after), full_check=True)
    with pytest.raises((Fail, InvalidGraph), match=r"int32|bool"):
        session(as_plugins_do(before))
    x = np.random.default_rng(0).standard_normal((2, 3, 128, 160)).astype(np.float32)
    feeds = routed_deployment.feeds(x)
    expected, found = session(before).run(None, feeds), session(as_plugins_do(after)).run(None, feeds)
    limit = 1e-6 if precision == Precision.fp32 else 0.02
    assert np.abs(expected[0]).max() > 0
    assert np.abs(found[0] - expected[0]).max() <= limit * np.abs(expected[0]).max()
    readers = [node for node in all_nodes(after.graph) if bool_outputs(after) & set(node.input)]
    assert {(node.op_type, node.attribute[0].i) for node in readers} == {("Cast", TensorProto.BOOL)}
    assert len(readers) == routed_deployment.info.operators["RoutingDecision"].nodes


def test_a_flag_that_the_model_gives_keeps_its_name_and_type(masked_deployment: Deployment) -> None:
    model = masked_deployment.load_model()
    gate = next(node for node in model.graph.node if node.op_type == "RoutingGate")
    model.graph.output.append(helper.make_tensor_value_info(gate.output[1], TensorProto.BOOL, [None]))
    cast = cast_bool_outputs(model)
    assert [output.name for output in cast.graph.output] == [output.name for output in model.graph.output]
    x = np.random.default_rng(0).standard_normal((1, 3, 128, 128)).astype(np.float32)
    feeds = masked_deployment.feeds(x)
    expected, found = session(model).run(None, feeds), session(as_plugins_do(cast)).run(None, feeds)
    assert found[-1].dtype == np.bool_
    assert np.array_equal(expected[-1], found[-1])


def test_a_model_whose_flags_nobody_reads_stays_as_it_is(
    masked_deployment: Deployment, lenet_deployment: Deployment
) -> None:
    for deployment in (masked_deployment, lenet_deployment):
        model = deployment.load_model()
        assert cast_bool_outputs(model) is model
