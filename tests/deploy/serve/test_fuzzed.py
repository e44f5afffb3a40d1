"""Mutated requests over sockets and channels: each gets an answer that is no fault of the server, which serves on."""

from __future__ import annotations

import contextlib
import json
import random
import socket

import grpc
import pytest

from adroit.deploy.protocol import open_inference_pb2 as pb
from tests.deploy.serve.server import PATIENCE, Server
from tests.fuzz.mutations import LIMIT, hostile, mutated_bytes, mutated_json

pytestmark = pytest.mark.timeout(LIMIT)
MODEL = "adder-lenet5-bn"
# What a request with a short timeout of its own gets: its turn does not come in time.
LATE = (503, 504)
# Codes that a client may get: none says that the server failed (UNKNOWN, INTERNAL) or is gone (UNAVAILABLE).
ANSWERS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNAUTHENTICATED,
}


def _inference() -> dict[str, object]:
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 1, 32, 32], "data": [0.5] * 1024}
    return {"id": "1", "inputs": [tensor], "outputs": [{"name": "logits"}], "parameters": {"timeout": 10_000_000}}


def _requests() -> list[bytes]:
    body = json.dumps(_inference()).encode()
    paths = ["/v2", "/v2/health/ready", f"/v2/models/{MODEL}", f"/v2/models/{MODEL}/stats", "/metrics", "/nothing"]
    gets = [f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode() for path in paths]
    head = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    return [*gets, f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body]


def _status(server: Server, content: bytes) -> int | None:
    """The status of what the server answers before it closes, or None where it closes without a word."""
    host, port = server.http.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
    if not answer:
        return None
    assert answer.startswith(b"HTTP/1."), answer[:100]
    return int(answer.split(b" ", 2)[1])


def _serves(server: Server) -> bool:
    return server.post(f"/v2/models/{MODEL}/infer", json.dumps(_inference()).encode())[0] == 200


def test_http_requests(server: Server) -> None:
    """Bytes that are almost HTTP: lengths, methods, headers and bodies that contradict each other."""
    for content in hostile(_requests(), mutated_bytes, 300):
        status = _status(server, content)
        assert status is None or status < 500 or status in (501, 503, 504, 505), content
    assert _serves(server)


def test_bodies(server: Server) -> None:
    """JSON of a request with values, names and nesting that no client sends, and as image files."""
    for content in hostile([json.dumps(_inference()).encode()], mutated_json, 300):
        status, answer = server.post(f"/v2/models/{MODEL}/infer", content)
        assert status < 500 or status in LATE, (content, answer)
        status, answer = server.post(f"/v2/models/{MODEL}/predict", content)
        assert status < 500 or status in LATE, (content, answer)
    assert _serves(server)


def _messages() -> list[bytes]:
    message = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[bytes(4096)])
    message.inputs.add(name="image", datatype="FP32", shape=[1, 1, 32, 32])
    message.parameters["timeout"].int64_param = 10_000_000
    typed = pb.ModelInferRequest(model_name=MODEL)
    typed.inputs.add(name="image", datatype="FP32", shape=[1, 1, 32, 32]).contents.fp32_contents.extend([0.5] * 1024)
    return [message.SerializeToString(), typed.SerializeToString()]


def test_grpc_messages(server: Server) -> None:
    """Bytes that are almost protobuf, in the methods that take messages."""
    chance = random.Random(1)
    methods = ["ModelInfer", "ModelInfer", "ModelMetadata", "ModelConfig", "RepositoryIndex", "ModelStatistics"]
    with grpc.insecure_channel(server.grpc) as channel:
        for content in hostile(_messages(), mutated_bytes, 300):
            method = chance.choice(methods)
            try:
                channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(content, timeout=PATIENCE)
            except grpc.RpcError as error:
                details = error.details()
                parsing = error.code() == grpc.StatusCode.INTERNAL and "deserializing request" in details
                assert error.code() in ANSWERS or parsing, (method, content, error.code(), details)
    assert _serves(server)


@pytest.fixture(autouse=True, scope="module")
def _nothing_of_ours_failed(server: Server) -> object:
    yield
    faults = [event for event in server.events() if event.get("level") == "error"]
    assert faults == []
