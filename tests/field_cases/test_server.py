"""Requests of usual clients that a server took for mistakes.

| case                                                    | outcome                                |
|---------------------------------------------------------|----------------------------------------|
| KServe's `model_name`, MLServer's `content_type`, nulls | 200, the same numbers as without       |
| `Accept: application/json, image/png;q=0.1`             | 200, JSON of a classification          |
| `--host ::1` with gRPC                                  | both listen, and both answer           |
| an address that is not there                            | 404, and what there is                 |
| TLS files that cannot be used                           | exit code 2 before anything listens    |
"""

from __future__ import annotations

import gzip
import io
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from PIL import Image

import adroit
from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.models.data.palette import color_palette
from tests.deploy.serve.server import PATIENCE, Server, running

SIZE = (8, 8)
PIXELS = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classification and a segmentation of 8 x 8 pixels in three classes."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("repository")
    layers = [torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    for name, task, count in (("labels", "classification", 3), ("map", "segmentation", 1)):
        network = torch.nn.Sequential(*layers[:count]).eval()
        adroit.export(network, folder / name, size=SIZE, fixed_size=True, task=task, labels=["a", "b", "c"])
    return folder


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server"), repository) as started:
        yield started


def image() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG")
    return buffer.getvalue()


def body(**more: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": [1, 3, *SIZE], "datatype": "FP32", "data": [0.5] * 192}
    return {"inputs": [{**tensor, **more.pop("tensor", {})}], **more}


def answer(server: Server, content: dict[str, Any], **headers: str) -> Any:
    status, text = server.post("/v2/models/labels/infer", json.dumps(content).encode(), **headers)
    assert status == 200, text
    return json.loads(text)["outputs"]


CONTENT_TYPE = {"content_type": "np", "headers": None}
CLIENTS = {
    "KServe 0.21": body(id="1", model_name="labels"),
    "MLServer 1.7": body(id=None, parameters=CONTENT_TYPE, outputs=None, tensor={"parameters": CONTENT_TYPE}),
    "nulls": body(id=None, parameters=None, outputs=None, model_version=None, tensor={"parameters": None}),
    "parameters of other servers": body(parameters={"priority": 1, "sequence_id": 7, "headers": {"a": ["b"]}}),
    "null parameters": body(parameters={"timeout": None, "binary_data_output": None}),
    "null parameters of a tensor": body(
        tensor={"parameters": {"shared_memory_region": None, "binary_data_size": None}}
    ),
    "an output with nulls": body(outputs=[{"name": "output0", "parameters": None, "datatype": "FP32"}]),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_fields_that_are_meant_for_other_servers_are_passed_over(client: str, server: Server) -> None:
    assert answer(server, CLIENTS[client], Content_Type="application/json") == answer(server, body())


def test_null_data_is_no_data(server: Server) -> None:
    header = json.dumps(body(tensor={"data": None, "parameters": {"binary_data_size": 768}})).encode()
    content = header + np.full(192, 0.5, "<f4").tobytes()
    named = {"Inference_Header_Content_Length": str(len(header))}
    status, text = server.post("/v2/models/labels/infer", content, **named)
    assert status == 200, text
    assert json.loads(text)["outputs"] == answer(server, body())


@pytest.mark.parametrize(("encoding", "pack"), [("GZIP", gzip.compress), ("x-gzip", gzip.compress), ("", bytes)])
def test_names_of_encodings_are_those_of_http(encoding: str, pack: Callable[[bytes], bytes], server: Server) -> None:
    content = pack(json.dumps(body()).encode())
    assert server.post("/v2/models/labels/infer", content, Content_Encoding=encoding)[0] == 200


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (body(parameters={"time_out": 5}), "did you mean 'timeout'?"),
        (body(parameters={"timeout": [5]}), "timeout must be a number"),
        (body(parameters={str(i): i for i in range(1000)}), "not an inference request"),
        (body(outputs=[{"name": "output0", "parameters": {"classification": 3}}]), "/predict gives labels"),
    ],
)
def test_what_would_lose_its_meaning_is_refused(content: dict[str, Any], reason: str, server: Server) -> None:
    status, text = server.post("/v2/models/labels/infer", json.dumps(content).encode())
    assert status == 400 and reason in json.loads(text)["error"], text


def test_the_query_of_predict_stays_strict(server: Server) -> None:
    assert server.post("/v2/models/labels/predict?tops=3", image())[0] == 400


def test_grpc_passes_over_parameters_of_other_servers(server: Server) -> None:
    plain = pb.ModelInferRequest(model_name="labels", raw_input_contents=[np.full(192, 0.5, "<f4").tobytes()])
    plain.inputs.add(name="image", datatype="FP32", shape=[1, 3, *SIZE])
    crowded = pb.ModelInferRequest.FromString(plain.SerializeToString())
    crowded.parameters["content_type"].string_param = "np"
    crowded.parameters["timeout"].SetInParent()  # a parameter without a value
    crowded.inputs[0].parameters["content_type"].string_param = "np"
    crowded.outputs.add(name="output0").parameters["binary_data"].bool_param = True
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(INFER)
        replies = [call(each.SerializeToString(), timeout=PATIENCE) for each in (plain, crowded)]
        assert replies[0] == replies[1]
        crowded.outputs[0].parameters["classification"].int64_param = 3
        with pytest.raises(grpc.RpcError) as caught:
            call(crowded.SerializeToString(), timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


PNG_LAST = "application/json, image/png;q=0.1"
BROWSER = "text/html,image/avif,image/webp,image/png,*/*;q=0.8"


@pytest.mark.parametrize("accept", [PNG_LAST, BROWSER, "*/*", "image/png;q=0", "text/html", ""])
def test_a_classification_answers_json_to_who_takes_it(accept: str, server: Server) -> None:
    status, text = server.post("/v2/models/labels/predict", image(), Accept=accept)
    assert status == 200, text
    assert len(json.loads(text)["predictions"]) == 3


def test_a_classification_refuses_who_takes_a_map_alone(server: Server) -> None:
    assert server.post("/v2/models/labels/predict", image(), Accept="image/png")[0] == 400


@pytest.mark.parametrize(
    ("accept", "wants_map"),
    [(PNG_LAST, False), (BROWSER, True), ("*/*", False), ("image/png", True), ("IMAGE/*;q=0.5", True),
     ("image/png;q=0.4, application/json;q=0.5", False), ("application/json;q=0, */*", True)],
)  # fmt: skip
def test_a_segmentation_answers_in_the_form_that_is_wanted_more(accept: str, wants_map: bool, server: Server) -> None:
    status, content = server.post("/v2/models/map/predict", image(), Accept=accept)
    assert status == 200, content
    assert content.startswith(b"\x89PNG") is wants_map


def test_a_class_map_has_a_palette_and_its_bytes_are_the_classes(server: Server) -> None:
    _, content = server.post("/v2/models/map/predict", image(), Accept="image/png")
    picture = Image.open(io.BytesIO(content))
    assert (picture.mode, picture.size) == ("P", SIZE)
    assert bytes(picture.getpalette() or ()) == color_palette()
    classes = np.asarray(picture)
    _, text = server.post("/v2/models/map/predict", image())
    shares = {each["label"]: each["share"] for each in json.loads(text)["shares"]}
    values, counts = np.unique(classes, return_counts=True)
    assert {"abc"[value]: count / 64 for value, count in zip(values, counts, strict=True)} == pytest.approx(shares)


@pytest.mark.parametrize(
    "path", ["/", "/v1/models/labels:predict", "/v2/models/labels/generate", "/v2/health", "/docs", "/metrics"]
)
def test_an_unknown_address_answers_with_what_there_is(path: str, server: Server) -> None:
    status, text = server.get(path)
    assert status == 404
    error = json.loads(text)["error"]
    assert "/v2/models/NAME/infer" in error and "/v2/repository/index" in error


def test_an_unknown_model_answers_where_the_known_ones_are(server: Server) -> None:
    status, text = server.get("/v2/models/other")
    assert status == 404 and "/v2/repository/index" in json.loads(text)["error"]


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6_serves_grpc_too(host: str, repository: Path, tmp_path: Path) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with running(tmp_path, repository / "labels", "--host", host) as server:
        assert server.http.startswith("[::1]:") and server.grpc.startswith("[::1]:")
        assert server.get("/v2/models/labels/ready")[0] == 200
        with grpc.insecure_channel(server.grpc) as channel:
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=PATIENCE)
        assert pb.ServerLiveResponse.FromString(live).live
