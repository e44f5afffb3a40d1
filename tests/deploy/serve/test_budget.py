"""Budgets in requests: thresholds of their own for requests that run together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import msgspec
import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.routing.collect import deployment_costs
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.routing.route import Route
from tests.deploy.serve.conftest import THRESHOLDS
from tests.deploy.serve.held import running_held
from tests.deploy.serve.photographs import enlarged
from tests.deploy.serve.server import Server, until

INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def direct(repository: Path, operators: OperatorForm, photographs: np.ndarray) -> Any:
    """Return a function from the index of a photograph and a threshold to the deployment's outputs."""
    deployment = Deployment.read(repository / "routed")
    pixels = enlarged(photographs)
    with open_runtime(deployment, RuntimeOptions(threads=1, operators=operators)) as runtime:

        def run(index: int, threshold: float) -> dict[str, np.ndarray]:
            return runtime.run(
                deployment.feeds(deployment.info.preprocessing.values(pixels[index : index + 1]), threshold)
            )

        yield run


def request(photographs: np.ndarray, index: int, **parameters: float | str) -> bytes:
    pixels = enlarged(photographs[index : index + 1])
    message = pb.ModelInferRequest(model_name="routed", raw_input_contents=[pixels.tobytes()])
    message.inputs.add(name="image", datatype="UINT8", shape=pixels.shape)
    for name, value in parameters.items():
        if isinstance(value, str):
            message.parameters[name].string_param = value
        else:
            message.parameters[name].double_param = value
    return bytes(message.SerializeToString())


def outputs(response: bytes) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    message = pb.ModelInferResponse.FromString(response)
    tensors = zip(message.outputs, message.raw_output_contents, strict=True)
    reported = {name: value.double_param for name, value in message.parameters.items()}
    return {o.name: np.frombuffer(raw, np.float32).reshape(o.shape) for o, raw in tensors}, reported


def test_the_response_contains_threshold_and_cost_of_the_route(
    server: Server, repository: Path, photographs: np.ndarray, direct: Any
) -> None:
    costs = deployment_costs(Deployment.read(repository / "routed"), (128, 160))
    seen = set()
    with grpc.insecure_channel(server.grpc) as channel:
        for threshold in THRESHOLDS:
            arrays, reported = outputs(channel.unary_unary(INFER)(request(photographs, 0, gate_threshold=threshold)))
            expected = direct(0, threshold)
            for name, values in expected.items():
                np.testing.assert_array_equal(arrays[name], values)
            cost = costs.of_route(Route.from_gates(costs.space, expected["gates"][0])).total / 1e9
            table = {0.0: 0.4, 0.3: 0.2, 1.0: 0.1}[threshold]
            expected_cost = {"expected_gflops": pytest.approx(table), "route_gflops": pytest.approx(cost)}
            assert reported == {"gate_threshold": pytest.approx(threshold), **expected_cost}
            seen.add(round(cost, 9))
    assert len(seen) > 1


def test_requests_that_run_together_keep_their_own_thresholds(
    repository: Path, operators: OperatorForm, photographs: np.ndarray, direct: Any, tmp_path: Path
) -> None:
    """Each gets the routes that it gets alone; all wait while another one runs, and then run as one batch."""
    cases = [(index, threshold) for index in range(4) for threshold in (0.0, 0.3, 1.0)]
    options = ("--batch", len(cases), "--operators", operators.value)
    with running_held(tmp_path, repository / "routed", *options) as held:
        with grpc.insecure_channel(held.server.grpc) as channel:
            infer = channel.unary_unary(INFER)
            with held.hold():
                first = infer.future(request(photographs, 0))
                until(lambda: held.running)
                calls = [infer.future(request(photographs, i, gate_threshold=value)) for i, value in cases]
                until(lambda: held.waiting == len(cases))
            first.result()
            answers = [outputs(call.result()) for call in calls]
        (stats,) = held.server.json("/v2/models/routed/stats")["model_stats"]
    assert (stats["execution_count"], stats["inference_count"]) == (2, 1 + len(cases))
    for (index, threshold), (arrays, reported) in zip(cases, answers, strict=True):
        expected = direct(index, threshold)
        np.testing.assert_array_equal(arrays["gates"] > 0, expected["gates"] > 0)
        np.testing.assert_array_equal(arrays["logits"], expected["logits"])
        assert reported["gate_threshold"] == pytest.approx(threshold)


def test_a_tensor_gives_every_sample_its_threshold(server: Server, photographs: np.ndarray, direct: Any) -> None:
    pixels = enlarged(photographs[:3])
    for shape in ([3], [3, 1]):
        message = pb.ModelInferRequest(model_name="routed", raw_input_contents=[pixels.tobytes()])
        message.inputs.add(name="image", datatype="UINT8", shape=pixels.shape)
        message.inputs.add(name="gate_threshold", datatype="FP32", shape=shape)
        message.raw_input_contents.append(np.array([0.0, 0.3, 1.0], np.float32).tobytes())
        with grpc.insecure_channel(server.grpc) as channel:
            arrays, reported = outputs(channel.unary_unary(INFER)(message.SerializeToString()))
        for index, threshold in enumerate((0.0, 0.3, 1.0)):
            np.testing.assert_array_equal(arrays["gates"][index] > 0, direct(index, threshold)["gates"][0] > 0)
        assert reported["gate_threshold"] == 1.0


@pytest.mark.parametrize(
    ("parameters", "threshold"),
    [({"gflops": 0.5}, 0.0), ({"gflops": 0.25}, 0.3), ({"gflops": 0.1}, 1.0), ({"milliseconds": 8}, 0.3)],
)
def test_a_budget_becomes_the_threshold_of_the_table(
    parameters: dict[str, float], threshold: float, server: Server, photographs: np.ndarray
) -> None:
    """The table of the `repository` fixture."""
    with grpc.insecure_channel(server.grpc) as channel:
        _, reported = outputs(channel.unary_unary(INFER)(request(photographs, 0, **parameters)))
    assert reported["gate_threshold"] == pytest.approx(threshold)


WRONG = {
    "two budgets": {"gflops": 0.5, "gate_threshold": 0.5},
    "a budget that no threshold keeps": {"gflops": 0.01},
    "a negative threshold": {"gate_threshold": -0.1},
    "a negative budget": {"milliseconds": -1},
    "text": {"gflops": "much"},
    "yes": {"gate_threshold": True},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_budget_that_cannot_be_is_refused(what: str, server: Server) -> None:
    shape = [1, 128, 160, 3]
    tensor = {"name": "image", "datatype": "UINT8", "shape": shape, "parameters": {"binary_data_size": 61440}}
    header = json.dumps({"inputs": [tensor], "parameters": WRONG[what]}).encode()
    status, body = server.post(
        "/v2/models/routed/infer", header + bytes(61440), Inference_Header_Content_Length=str(len(header))
    )
    assert status == 400, body
    if what == "a budget that no threshold keeps":
        assert "0.1 GFLOPs" in json.loads(body)["error"]  # the minimum of the table


def test_a_network_without_a_table_takes_thresholds_only(
    repository: Path, operators: OperatorForm, tmp_path: Path
) -> None:
    from adroit.deploy.serve.cost_classes import CostClass
    from adroit.deploy.serve.engine.budget import ModelBudget
    from adroit.deploy.serve.protocol.refusal import Refusal

    deployment = Deployment.read(repository / "routed")
    bare = Deployment(deployment.path, msgspec.structs.replace(deployment.info, budget=None))
    thresholds = ModelBudget(bare).thresholds({"gate_threshold": 0.25}, None, 2, (128, 160), CostClass())
    assert thresholds is not None
    assert thresholds.tolist() == [0.25, 0.25]
    with pytest.raises(Refusal, match="no budget table"):
        ModelBudget(bare).thresholds({"gflops": 1.0}, None, 2, (128, 160), CostClass())


@pytest.mark.parametrize("values", [[0.1, float("nan"), 0.1], [0.1, -1.0, 0.1], [0.1, 0.1]])
def test_thresholds_of_a_tensor_are_checked(values: list[float], server: Server, photographs: np.ndarray) -> None:
    pixels = enlarged(photographs[:3])
    message = pb.ModelInferRequest(model_name="routed", raw_input_contents=[pixels.tobytes()])
    message.inputs.add(name="image", datatype="UINT8", shape=pixels.shape)
    message.inputs.add(name="gate_threshold", datatype="FP32", shape=[len(values)])
    message.raw_input_contents.append(np.array(values, np.float32).tobytes())
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(INFER)(message.SerializeToString())
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_routes_and_thresholds_are_metrics(server: Server, photographs: np.ndarray) -> None:
    before = server.metric("adroit_route_gflops_count"), server.metric("adroit_gate_threshold_sum")
    with grpc.insecure_channel(server.grpc) as channel:
        channel.unary_unary(INFER)(request(photographs, 0, gate_threshold=0.5))
    assert server.metric("adroit_route_gflops_count") == before[0] + 1
    assert server.metric("adroit_gate_threshold_sum") == pytest.approx(before[1] + 0.5)
