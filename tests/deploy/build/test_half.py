"""Float16 files: what is cast, what stays float32, and that they still compute the network."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

from adroit.deploy.build.choices import Precision
from adroit.deploy.build.half import SUMS
from adroit.deploy.build.prepare import Form, Prepared, prepare
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import MODEL_FILE
from adroit.deploy.deployment.records import ModelRecord
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.operators.definitions import DOMAIN, operators
from adroit.deploy.parity.rounding_model import run_with_limits
from adroit.deploy.parity.tolerance import compare
from adroit.deploy.runtimes.torch_runtime import load_reference
from adroit.errors import UnsupportedModel, UsageError
from tests.deploy.build.half_model import float_operators
from tests.deploy.records import rewritten

ENTRIES = {
    "lenet_deployment": (32, 32),
    "resnet_deployment": (32, 32),
    "anti_aliased_deployment": (32, 32),
    "routed_deployment": (128, 160),
}
EVERY = pytest.mark.parametrize("name", ENTRIES)


def run(model: onnx.ModelProto, deployment: Deployment, x: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    outputs: list[np.ndarray] = session.run(None, deployment.feeds(x))
    return outputs


def half(deployment: Deployment, form: Form, *keep: str) -> Prepared:
    return prepare(deployment, form, Precision.fp16, keep)


@EVERY
@pytest.mark.parametrize("form", ["plugins", "functions"])
def test_the_float16_file_computes_the_network(name: str, form: Form, request: pytest.FixtureRequest) -> None:
    """Within 2 % of the largest logit; float16 has 11 bits, these networks some 20 layers."""
    deployment: Deployment = request.getfixturevalue(name)
    prepared = half(deployment, form)
    model = float_operators(prepared.model) if form == "plugins" else prepared.model
    onnx.checker.check_model(model, full_check=True)
    shape = (2, deployment.info.inputs[0].shape[1], *ENTRIES[name])
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (expected, *_), (found, *_) = run(deployment.load_model(), deployment, x), run(model, deployment, x)
    assert found.dtype == np.float32
    assert np.abs(expected).max() > 0
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert 1e-7 < error < 0.02, error  # not the float32 network either


def share_of_limit(found: np.ndarray, deployment: Deployment, x: np.ndarray, precision: str) -> float:
    reference = load_reference(deployment).double()
    values, limits = run_with_limits(reference, torch.from_numpy(x).double(), [""], precision=precision)
    return compare(found, values[""].numpy(), limits[""].numpy()).used


@pytest.mark.parametrize("name", ["lenet_deployment", "anti_aliased_deployment"])
def test_parity_holds_a_float16_build_to_the_rounding_of_float16(name: str, request: pytest.FixtureRequest) -> None:
    deployment: Deployment = request.getfixturevalue(name)
    model = half(deployment, "functions").model
    x = (
        np.random.default_rng(0)
        .standard_normal((2, deployment.info.inputs[0].shape[1], *ENTRIES[name]))
        .astype(np.float32)
    )
    found = run(model, deployment, x)[0]
    assert share_of_limit(found, deployment, x, "float16") < 1 < share_of_limit(found, deployment, x, "float32")
    weights = max(
        (t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16), key=lambda t: t.ByteSize()
    )
    wrong = numpy_helper.to_array(weights)[..., ::-1] * np.float16(-1)
    weights.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(wrong), weights.name))
    assert share_of_limit(run(model, deployment, x)[0], deployment, x, "float16") > 1


def graphs_of(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """The main graph and all branches."""
    return [model.graph, *(a.g for n in all_nodes(model.graph) for a in n.attribute if a.HasField("g"))]


def stay_float(model: onnx.ModelProto) -> set[str]:
    """What our operators read in float32, of any precision of the network."""
    return {
        name
        for node in all_nodes(model.graph)
        if node.domain == DOMAIN
        for name, described in zip(node.input, operators()[node.op_type].inputs, strict=True)
        if described.name not in operators()[node.op_type].half
    }


@EVERY
def test_weights_take_half_the_space_and_the_ends_stay_float32(name: str, request: pytest.FixtureRequest) -> None:
    deployment: Deployment = request.getfixturevalue(name)
    before, after = deployment.load_model(), half(deployment, "plugins").model

    def matrices(model: onnx.ModelProto, kind: int) -> set[str]:
        return {t.name for g in graphs_of(model) for t in g.initializer if t.data_type == kind and len(t.dims) > 1}

    stay = matrices(before, TensorProto.FLOAT) & stay_float(before)
    assert len(stay) >= getattr(deployment.info.operators.get("RoutingGate"), "nodes", 0)
    assert len(matrices(before, TensorProto.FLOAT)) > 4
    assert matrices(after, TensorProto.FLOAT) == stay
    assert len(matrices(after, TensorProto.FLOAT16)) == len(matrices(before, TensorProto.FLOAT)) - len(stay)
    for value, old in zip(
        (*after.graph.input, *after.graph.output), (*before.graph.input, *before.graph.output), strict=True
    ):
        assert value.name == old.name
        assert value.type.tensor_type.elem_type == old.type.tensor_type.elem_type == TensorProto.FLOAT


@EVERY
def test_our_operators_get_float16_just_where_the_descriptor_says(name: str, request: pytest.FixtureRequest) -> None:
    """The plugins would read other types as noise."""
    model = half(request.getfixturevalue(name), "plugins").model
    graphs = graphs_of(model)
    types = {t.name: t.data_type for graph in graphs for t in graph.initializer}
    for node in all_nodes(model.graph):
        if node.op_type == "Cast":
            types[node.output[0]] = next(a.i for a in node.attribute)
    declared = (v for graph in graphs for v in (*graph.input, *graph.output, *graph.value_info))
    types |= {v.name: v.type.tensor_type.elem_type for v in declared}
    custom = [node for node in all_nodes(model.graph) if node.domain == DOMAIN]
    assert custom
    for node in custom:
        described = operators()[node.op_type]
        for value, spec in zip((*node.input, *node.output), (*described.inputs, *described.outputs), strict=True):
            wanted = TensorProto.FLOAT16 if spec.name in described.half else TensorProto.FLOAT
            if spec.type == "bool":
                wanted = TensorProto.BOOL
            assert types[value] == wanted, (node.name, spec.name)


@EVERY
def test_every_node_that_stays_float32_is_told_with_its_reason(name: str, request: pytest.FixtureRequest) -> None:
    deployment: Deployment = request.getfixturevalue(name)
    prepared = half(deployment, "plugins")
    stay = Counter(kept.operator for kept in prepared.kept)
    nodes = Counter(node.op_type for node in all_nodes(deployment.load_model().graph))
    for operator in (*operators(), *SUMS):
        assert stay[operator] == nodes[operator]
    assert all(kept.node and kept.why for kept in prepared.kept)


def test_a_weight_beyond_float16_keeps_its_node_in_float32(lenet: Deployment) -> None:
    model = onnx.load(lenet.model_file)
    (tensor,) = [t for t in model.graph.initializer if t.name == "classifier.3.weight" or t.dims == [10, 84, 1, 1]]
    wide = numpy_helper.to_array(tensor).copy()
    wide.flat[0] = 70000.0
    tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    prepared = half(replaced(lenet, model), "plugins")
    assert [k.why for k in prepared.kept if k.operator not in operators()] == [
        "a constant of it is 70000, beyond float16"
    ]
    assert {t.data_type for t in prepared.model.graph.initializer if t.name == tensor.name} == {TensorProto.FLOAT}


def replaced(deployment: Deployment, model: onnx.ModelProto) -> Deployment:
    """The deployment with another model, as if it had been exported so."""
    import hashlib

    content = model.SerializeToString()
    deployment.model_file.write_bytes(content)
    return rewritten(deployment, model=ModelRecord(MODEL_FILE, hashlib.sha256(content).hexdigest()))


def test_a_node_can_be_kept_by_name(lenet_deployment: Deployment) -> None:
    pool = next(n.name for n in lenet_deployment.load_model().graph.node if n.op_type == "MaxPool")
    assert ("MaxPool", "requested") in [(k.operator, k.why) for k in half(lenet_deployment, "plugins", pool).kept]
    with pytest.raises(UsageError, match="no node 'nowhere'"):
        half(lenet_deployment, "plugins", "nowhere")


def test_a_portable_deployment_is_refused(lenet_checkpoint: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    from pathlib import Path

    from adroit.deploy.export.deployment import export_deployment

    deployment = export_deployment(
        Path(str(lenet_checkpoint)), tmp_path_factory.mktemp("portable"), "portable", "portable"
    )
    with pytest.raises(UnsupportedModel, match="standard operators only"):
        half(deployment, "functions")
