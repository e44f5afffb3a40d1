"""What tritonclient, the protocol's own client, asks of a server: every method, over HTTP and gRPC.

The results are those of `adroit run`, bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.entry import Entry
from tests.conftest import Adroit
from tests.serve.server import Server

pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed: pip install '.[dev]'")
pytest.importorskip("tritonclient.http", reason="tritonclient is not installed: pip install '.[dev]'")

import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, shared_memory

PROTOCOLS = ("http", "grpc")
FAMILIES = ("adder-resnet20", "adder-lenet5-bn", "routed")
Client = Any


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Any:
    return {"http": tritonclient.http, "grpc": tritonclient.grpc}[request.param]


@pytest.fixture
def client(protocol: Any, server: Server) -> Client:
    address = server.http if protocol is tritonclient.http else server.grpc
    with protocol.InferenceServerClient(address) as made:
        yield made


def as_dict(client: Client, method: str, *arguments: Any, **named: Any) -> Any:
    """A management call's answer, as HTTP's JSON gives it."""
    if isinstance(client, tritonclient.grpc.InferenceServerClient):
        named["as_json"] = True
    return getattr(client, method)(*arguments, **named)


@pytest.fixture(scope="session")
def expected(repository: Path, images: Path, operators: Any, adroit: Adroit, tmp_path_factory: Any) -> Any:
    """model, batch -> outputs of `adroit run`."""
    folder = tmp_path_factory.mktemp("run")
    kept: dict[tuple[str, int, float], dict[str, np.ndarray]] = {}

    def run(model: str, batch: int, threshold: float = 0.0) -> dict[str, np.ndarray]:
        if (model, batch, threshold) not in kept:
            output = folder / f"{model}-{batch}-{threshold}.npz"
            images_of = routed_images(folder, images) if model == "routed" else images
            result = adroit(
                "run", repository / model, "--data", images_of, "-o", output, "--batch", batch, "--threads", 1,
                "--operators", operators.value, "--gate-threshold", threshold,
            )  # fmt: skip
            assert result.code == 0, result.err
            with np.load(output) as archive:
                kept[model, batch, threshold] = {name: archive[name] for name in archive.files if name != "names"}
        return kept[model, batch, threshold]

    return run


def enlarged(photographs: np.ndarray) -> np.ndarray:
    """The routed network's gates need 128 pixels: [N,32,32,3] to [N,128,160,3]."""
    return np.ascontiguousarray(np.tile(photographs, (1, 4, 5, 1)))


def routed_images(folder: Path, images: Path) -> Path:
    path = folder / "large.npz"
    with np.load(images) as archive:
        np.savez(path, images=enlarged(archive["images"]))
    return path


def pixels_for(model: str, photographs: np.ndarray) -> np.ndarray:
    return enlarged(photographs) if model == "routed" else photographs


def image_input(protocol: Any, values: np.ndarray, datatype: str, binary: bool = True, name: str = "image") -> Any:
    made = protocol.InferInput(name, list(values.shape), datatype)
    if protocol is tritonclient.http:
        made.set_data_from_numpy(values, binary_data=binary)
    else:
        made.set_data_from_numpy(values)
    return made


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("batch", [1, 4, 12])
def test_pixels_give_what_adroit_run_gives(
    model: str, batch: int, client: Client, protocol: Any, photographs: np.ndarray, expected: Any
) -> None:
    pixels = pixels_for(model, photographs)[:batch]
    result = client.infer(model, [image_input(protocol, pixels, "UINT8")], request_id="seven")
    wanted = expected(model, batch)
    for name, values in wanted.items():
        np.testing.assert_array_equal(result.as_numpy(name), values[:batch])
    response = result.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "seven"


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("binary", [True, False])
def test_floats_give_what_adroit_run_gives(
    model: str, binary: bool, repository: Path, client: Client, protocol: Any, photographs: np.ndarray, expected: Any
) -> None:
    info = Entry.read(repository / model).info
    batch = 1 if model == "routed" and not binary else 4
    values = info.preprocessing.values(pixels_for(model, photographs)[:batch])
    outputs = None
    if protocol is tritonclient.http:
        outputs = [protocol.InferRequestedOutput("logits", binary_data=binary)]
    result = client.infer(model, [image_input(protocol, values, "FP32", binary)], outputs=outputs)
    np.testing.assert_array_equal(result.as_numpy("logits"), expected(model, batch)["logits"][:batch])


def test_a_batch_of_sixteen_in_both_encodings_is_the_same(
    client: Client, protocol: Any, photographs: np.ndarray
) -> None:
    pixels = np.concatenate([photographs, photographs[:4]])
    answers = [
        client.infer("adder-resnet20", [image_input(protocol, pixels, "UINT8", binary)]).as_numpy("logits")
        for binary in (True, False)
    ]
    np.testing.assert_array_equal(*answers)
    with pytest.raises(InferenceServerException, match="16 samples"):
        client.infer("adder-resnet20", [image_input(protocol, np.concatenate([pixels, pixels[:1]]), "UINT8")])


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_bodies(
    compression: str, client: Client, protocol: Any, photographs: np.ndarray, expected: Any
) -> None:
    inputs = [image_input(protocol, photographs, "UINT8")]
    if protocol is tritonclient.http:
        named = {"request_compression_algorithm": compression, "response_compression_algorithm": "gzip"}
    else:
        named = {"compression_algorithm": compression}
    result = client.infer("adder-lenet5-bn", inputs, **named)
    np.testing.assert_array_equal(result.as_numpy("logits"), expected("adder-lenet5-bn", 12)["logits"])


def test_typed_contents_over_grpc(server: Server, photographs: np.ndarray, expected: Any) -> None:
    """Clients that send numbers instead of bytes; tritonclient does not, its messages can."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name="adder-lenet5-bn")
    tensor = request.inputs.add(name="image", datatype="UINT8", shape=[1, 32, 32, 3])
    tensor.contents.uint_contents.extend(photographs[0].ravel().tolist())
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        response = client._client_stub.ModelInfer(request)
    found = np.frombuffer(response.raw_output_contents[0], np.float32).reshape(1, 10)
    np.testing.assert_array_equal(found, expected("adder-lenet5-bn", 1)["logits"][:1])


def test_a_stream_answers_in_order_and_outlives_a_bad_request(
    server: Server, photographs: np.ndarray, expected: Any
) -> None:
    answers: list[Any] = []
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.append(error or result))
        for i in range(8):
            wrong = i == 3
            batch = np.zeros((1, 32, 32, 4), np.uint8) if wrong else photographs[i : i + 1]
            inputs = [image_input(tritonclient.grpc, batch, "UINT8")]
            client.async_stream_infer("adder-lenet5-bn", inputs, request_id=str(i))
        client.stop_stream()
    assert isinstance(answers.pop(3), InferenceServerException)
    assert [answer.get_response().id for answer in answers] == ["0", "1", "2", "4", "5", "6", "7"]
    logits = expected("adder-lenet5-bn", 1)["logits"]
    for answer in answers:
        np.testing.assert_array_equal(answer.as_numpy("logits")[0], logits[int(answer.get_response().id)])


def test_shared_memory(client: Client, protocol: Any, photographs: np.ndarray, expected: Any) -> None:
    size, out = photographs.nbytes, 12 * 10 * 4
    key = f"/adroit-test-{protocol.__name__.rpartition('.')[2]}"
    region = shared_memory.create_shared_memory_region("tensors", key, size + out)
    try:
        shared_memory.set_shared_memory_region(region, [photographs])
        client.register_system_shared_memory("tensors", key, size + out)
        assert "tensors" in str(as_dict(client, "get_system_shared_memory_status"))
        tensor = protocol.InferInput("image", list(photographs.shape), "UINT8")
        tensor.set_shared_memory("tensors", size)
        asked = protocol.InferRequestedOutput("logits")
        asked.set_shared_memory("tensors", out, offset=size)
        result = client.infer("adder-lenet5-bn", [tensor], outputs=[asked])
        assert "shared_memory_region" in str(result.get_output("logits"))
        found = shared_memory.get_contents_as_numpy(region, np.float32, [12, 10], offset=size)
        np.testing.assert_array_equal(found, expected("adder-lenet5-bn", 12)["logits"])
        asked.set_shared_memory("tensors", out - 4, offset=size)
        with pytest.raises(InferenceServerException, match="480 bytes"):
            client.infer("adder-lenet5-bn", [tensor], outputs=[asked])
    finally:
        client.unregister_system_shared_memory()
        shared_memory.destroy_shared_memory_region(region)
    with pytest.raises(InferenceServerException, match="no region"):
        client.infer("adder-lenet5-bn", [tensor])


def test_health_metadata_and_configuration(client: Client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("routed")
    assert client.is_model_ready("routed", "1")
    assert as_dict(client, "get_server_metadata")["name"] == "adroit"
    metadata = as_dict(client, "get_model_metadata", "routed")
    assert [each["name"] for each in metadata["inputs"]] == ["image", "gate_threshold"]
    assert [int(size) for size in metadata["outputs"][0]["shape"]] == [-1, 11, -1, -1]
    config = as_dict(client, "get_model_config", "adder-lenet5-bn")
    config = config.get("config", config)
    assert config["max_batch_size"] == 16
    assert [int(size) for size in config["input"][0]["dims"]] == [1, 32, 32]


def test_statistics_count_requests_and_executions(client: Client, protocol: Any, photographs: np.ndarray) -> None:
    def stats() -> Any:
        (told,) = as_dict(client, "get_inference_statistics", "adder-lenet5-bn")["model_stats"]
        return told

    client.infer("adder-lenet5-bn", [image_input(protocol, photographs[:3], "UINT8")])
    before = stats()
    for _ in range(2):
        client.infer("adder-lenet5-bn", [image_input(protocol, photographs[:3], "UINT8")])
    after = stats()
    grew = {name: int(after[name]) - int(before[name]) for name in ("inference_count", "execution_count")}
    assert grew == {"inference_count": 6, "execution_count": 2}
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        old, new = (told["inference_stats"][name] for told in (before, after))
        assert int(new["count"]) - int(old["count"]) == 2, name
        assert int(new["ns"]) > int(old["ns"]), name
    assert "3" in [str(batch["batch_size"]) for batch in after["batch_stats"]]


def test_index_load_and_unload(client: Client, protocol: Any, photographs: np.ndarray) -> None:
    def states() -> dict[str, str]:
        told = as_dict(client, "get_model_repository_index")
        return {m["name"]: m["state"] for m in (told if isinstance(told, list) else told["models"])}

    assert states() == dict.fromkeys(FAMILIES, "READY")
    client.unload_model("adder-lenet5-bn")
    assert states()["adder-lenet5-bn"] == "UNAVAILABLE"
    assert client.is_server_ready()
    with pytest.raises(InferenceServerException, match="no model"):
        client.infer("adder-lenet5-bn", [image_input(protocol, photographs[:1], "UINT8")])
    client.load_model("adder-lenet5-bn")
    assert states()["adder-lenet5-bn"] == "READY"
    client.infer("adder-lenet5-bn", [image_input(protocol, photographs[:1], "UINT8")])
    with pytest.raises(InferenceServerException):
        client.load_model("adder-lenet5-bn", config='{"backend": "python"}')
    with pytest.raises(InferenceServerException, match="no model"):
        client.load_model("../adder-lenet5-bn" if protocol is tritonclient.grpc else "other")
