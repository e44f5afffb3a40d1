"""Every method of tritonclient, the protocol's own client, over HTTP and gRPC.

The results are those of `adroit run`, bit for bit. Where a Triton is installed, the tests that take `both`
run against it too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm
from tests.deploy.serve.oracle import Oracle, running_oracle
from tests.deploy.serve.photographs import pixels_for
from tests.deploy.serve.server import Server, until

pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed: pip install '.[dev]'")
pytest.importorskip("tritonclient.http", reason="tritonclient is not installed: pip install '.[dev]'")

import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, shared_memory

PROTOCOLS = ("http", "grpc")
FAMILIES = ("adder-resnet20", "adder-lenet5-bn", "aa-cifar-resnet20", "routed")
LENET = "adder-lenet5-bn"
Client = Any


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Any:
    return {"http": tritonclient.http, "grpc": tritonclient.grpc}[request.param]


@pytest.fixture(scope="session")
def oracle(repository: Path, operators: OperatorForm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    with running_oracle(tmp_path_factory.mktemp("oracle"), repository, operators) as started:
        yield started


@pytest.fixture(params=["server", "oracle"])
def both(request: pytest.FixtureRequest) -> Server | Oracle:
    """Return our server, then the reference: what a test with this fixture states holds for both."""
    started: Server | Oracle = request.getfixturevalue(request.param)
    return started


def generous(protocol: Any) -> dict[str, float]:
    """Return the client's options for slow machines."""
    return {"connection_timeout": 240.0, "network_timeout": 240.0} if protocol is tritonclient.http else {}


@pytest.fixture
def client(protocol: Any, both: Server | Oracle) -> Iterator[Client]:
    address = both.http if protocol is tritonclient.http else both.grpc
    with protocol.InferenceServerClient(address, **generous(protocol)) as connected:
        yield connected


@pytest.fixture
def our_client(protocol: Any, server: Server) -> Iterator[Client]:
    address = server.http if protocol is tritonclient.http else server.grpc
    with protocol.InferenceServerClient(address, **generous(protocol)) as connected:
        yield connected


def as_dict(client: Client, method: str, *arguments: Any, **named: Any) -> Any:
    """Return a management call's answer in the form of HTTP's JSON."""
    if isinstance(client, tritonclient.grpc.InferenceServerClient):
        named["as_json"] = True
    return getattr(client, method)(*arguments, **named)


def image_input(protocol: Any, values: np.ndarray, datatype: str, binary: bool = True, name: str = "image") -> Any:
    tensor = protocol.InferInput(name, list(values.shape), datatype)
    if protocol is tritonclient.http:
        tensor.set_data_from_numpy(values, binary_data=binary)
    else:
        tensor.set_data_from_numpy(values)
    return tensor


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("batch", [1, 4, 12])
def test_pixels_give_what_adroit_run_gives(
    model: str, batch: int, our_client: Client, protocol: Any, photographs: np.ndarray, expected: Any
) -> None:
    pixels = pixels_for(model, photographs)[:batch]
    result = our_client.infer(model, [image_input(protocol, pixels, "UINT8")], request_id="seven")
    for name, values in expected(model, batch).items():
        np.testing.assert_array_equal(result.as_numpy(name), values[:batch])
    response = result.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "seven"


def tensors(protocol: Any, repository: Path, model: str, photographs: np.ndarray, binary: bool = True) -> list[Any]:
    """Return the inputs of a model for preprocessed photographs, as every server of the protocol takes them."""
    info = Deployment.read(repository / model).info
    values = info.preprocessing.values(pixels_for(model, photographs))
    inputs = [image_input(protocol, values, "FP32", binary)]
    if model == "routed":
        thresholds = np.zeros((len(photographs), 1), np.float32)
        inputs.append(image_input(protocol, thresholds, "FP32", binary, "gate_threshold"))
    return inputs


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize(("batch", "binary"), [(1, False), (1, True), (4, True), (12, True)])
def test_floats_give_what_adroit_run_gives(
    model: str, batch: int, binary: bool, repository: Path, client: Client, protocol: Any, photographs: np.ndarray,
    expected: Any,
) -> None:  # fmt: skip
    inputs = tensors(protocol, repository, model, photographs[:batch], binary)
    outputs = None
    if protocol is tritonclient.http:
        outputs = [protocol.InferRequestedOutput("logits", binary_data=binary)]
    result = client.infer(model, inputs, outputs=outputs, request_id="seven")
    np.testing.assert_array_equal(result.as_numpy("logits"), expected(model, batch)["logits"][:batch])
    response = result.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "seven"


def test_sixteen_samples_are_a_batch_and_seventeen_are_not(
    client: Client, protocol: Any, repository: Path, photographs: np.ndarray
) -> None:
    many = np.concatenate([photographs, photographs[:5]])
    answers = [
        client.infer("adder-resnet20", tensors(protocol, repository, "adder-resnet20", many[:16], binary))
        for binary in (True, False)
    ]
    np.testing.assert_array_equal(*(answer.as_numpy("logits") for answer in answers))
    with pytest.raises(InferenceServerException, match="16"):
        client.infer("adder-resnet20", tensors(protocol, repository, "adder-resnet20", many))


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_bodies(
    compression: str, client: Client, protocol: Any, repository: Path, photographs: np.ndarray, expected: Any
) -> None:
    inputs = tensors(protocol, repository, LENET, photographs)
    if protocol is tritonclient.http:
        named = {"request_compression_algorithm": compression, "response_compression_algorithm": "gzip"}
    else:
        named = {"compression_algorithm": compression}
    result = client.infer(LENET, inputs, **named)
    np.testing.assert_array_equal(result.as_numpy("logits"), expected(LENET, 12)["logits"])


def test_typed_contents_over_grpc(
    both: Server | Oracle, repository: Path, photographs: np.ndarray, expected: Any
) -> None:
    """Clients that send numbers instead of bytes; tritonclient does not, its messages can."""
    from tritonclient.grpc import service_pb2

    values = Deployment.read(repository / LENET).info.preprocessing.values(photographs[:1])
    request = service_pb2.ModelInferRequest(model_name=LENET)
    tensor = request.inputs.add(name="image", datatype="FP32", shape=values.shape)
    tensor.contents.fp32_contents.extend(values.ravel().tolist())
    with tritonclient.grpc.InferenceServerClient(both.grpc) as client:
        response = client._client_stub.ModelInfer(request)
    received = np.frombuffer(response.raw_output_contents[0], np.float32).reshape(1, 10)
    np.testing.assert_array_equal(received, expected(LENET, 1)["logits"][:1])


def test_a_stream_outlives_a_bad_request(
    both: Server | Oracle, repository: Path, photographs: np.ndarray, expected: Any
) -> None:
    answers: list[Any] = []
    with tritonclient.grpc.InferenceServerClient(both.grpc) as client:
        client.start_stream(lambda result, error: answers.append(error or result))
        for i in range(8):
            inputs = tensors(tritonclient.grpc, repository, LENET, photographs[i : i + 1])
            if i == 3:
                inputs = [image_input(tritonclient.grpc, np.zeros((1, 5), np.float32), "FP32")]
            client.async_stream_infer(LENET, inputs, request_id=str(i))
        client.stop_stream()
    (error,) = (answer for answer in answers if isinstance(answer, InferenceServerException))
    answers.remove(error)
    logits = expected(LENET, 1)["logits"]
    received = {answer.get_response().id: answer.as_numpy("logits")[0] for answer in answers}
    assert sorted(received) == ["0", "1", "2", "4", "5", "6", "7"]
    for number, values in received.items():
        np.testing.assert_array_equal(values, logits[int(number)])


def test_shared_memory(client: Client, protocol: Any, repository: Path, photographs: np.ndarray, expected: Any) -> None:
    values = Deployment.read(repository / LENET).info.preprocessing.values(photographs)
    size, out = values.nbytes, 12 * 10 * 4
    key = f"/adroit-test-{os.getpid()}"
    region = shared_memory.create_shared_memory_region("tensors", key, size + out)
    try:
        shared_memory.set_shared_memory_region(region, [values])
        client.register_system_shared_memory("tensors", key, size + out)
        assert "tensors" in str(as_dict(client, "get_system_shared_memory_status"))
        tensor = protocol.InferInput("image", list(values.shape), "FP32")
        tensor.set_shared_memory("tensors", size)
        output = protocol.InferRequestedOutput("logits")
        output.set_shared_memory("tensors", out, offset=size)
        result = client.infer(LENET, [tensor], outputs=[output])
        assert "data" not in str(result.get_output("logits")).replace("datatype", "")
        received = shared_memory.get_contents_as_numpy(region, np.float32, [12, 10], offset=size)
        np.testing.assert_array_equal(received, expected(LENET, 12)["logits"])
        output.set_shared_memory("tensors", out - 4, offset=size)
        with pytest.raises(InferenceServerException):
            client.infer(LENET, [tensor], outputs=[output])
    finally:
        client.unregister_system_shared_memory()
        shared_memory.destroy_shared_memory_region(region)
    with pytest.raises(InferenceServerException):
        client.infer(LENET, [tensor])


def test_health_metadata_and_configuration(client: Client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("routed")
    assert client.is_model_ready("routed", "1")
    assert {"binary_tensor_data", "statistics"} <= set(as_dict(client, "get_server_metadata")["extensions"])
    metadata = as_dict(client, "get_model_metadata", "routed")
    shapes = {each["name"]: [int(d) for d in each["shape"]] for each in metadata["inputs"] + metadata["outputs"]}
    assert shapes == {
        "image": [-1, 3, -1, -1], "gate_threshold": [-1, 1], "logits": [-1, 11, -1, -1], "gates": [-1, 19],
    }  # fmt: skip
    config = as_dict(client, "get_model_config", LENET)
    config = config.get("config", config)
    assert config["max_batch_size"] == 16
    assert [int(size) for size in config["input"][0]["dims"]] == [1, 32, 32]


def test_statistics_count_requests_and_executions(
    client: Client, protocol: Any, repository: Path, photographs: np.ndarray
) -> None:
    def stats() -> Any:
        (of_model,) = as_dict(client, "get_inference_statistics", LENET)["model_stats"]
        return of_model

    inputs = tensors(protocol, repository, LENET, photographs[:3])
    client.infer(LENET, inputs)
    before = stats()
    for _ in range(2):
        client.infer(LENET, inputs)
    after = stats()
    grew = {name: int(after[name]) - int(before[name]) for name in ("inference_count", "execution_count")}
    assert grew == {"inference_count": 6, "execution_count": 2}
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        old, new = (each["inference_stats"][name] for each in (before, after))
        assert int(new["count"]) - int(old["count"]) == 2, name
        assert int(new["ns"]) > int(old["ns"]), name
    assert "3" in [str(batch["batch_size"]) for batch in after["batch_stats"]]


def test_index_load_and_unload(client: Client, protocol: Any, repository: Path, photographs: np.ndarray) -> None:
    def states() -> dict[str, str]:
        index = as_dict(client, "get_model_repository_index")
        return {m["name"]: m["state"] for m in (index if isinstance(index, list) else index["models"])}

    inputs = tensors(protocol, repository, LENET, photographs[:1])
    assert states() == dict.fromkeys(FAMILIES, "READY")
    client.unload_model(LENET)
    until(lambda: states()[LENET] == "UNAVAILABLE")
    with pytest.raises(InferenceServerException):
        client.infer(LENET, inputs)
    client.load_model(LENET)
    assert states()[LENET] == "READY"
    client.infer(LENET, inputs)
    with pytest.raises(InferenceServerException):
        client.load_model("other")


def test_a_client_cannot_give_a_model_another_configuration(our_client: Client) -> None:
    """Triton allows it, and that way a client runs code of its own."""
    with pytest.raises(InferenceServerException, match="parameters"):
        our_client.load_model(LENET, config=json.dumps({"backend": "python"}))


def test_a_stream_answers_in_the_order_of_its_requests(server: Server, photographs: np.ndarray) -> None:
    answers: list[str] = []
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.append(result.get_response().id if result else str(error)))
        for i in range(40):
            model = FAMILIES[i % 2]
            pixels = image_input(tritonclient.grpc, photographs[:1], "UINT8")
            client.async_stream_infer(model, [pixels], request_id=str(i))
        client.stop_stream()
    assert answers == [str(i) for i in range(40)]
