"""Repositories that are not all well, what keeps a server from starting, and images of several sizes."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import grpc
import numpy as np
import pytest

from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.runtimes.choices import OperatorForm
from tests.conftest import Adroit
from tests.deploy.serve.messages import GRPC_INFER, grpc_request, http_request, infer_path
from tests.deploy.serve.server import Server, running

MODEL = "adder-resnet20"


def test_a_corrupt_deployment_is_not_ready_and_says_why_while_the_others_serve(
    repository: Path, operators: OperatorForm, tmp_path: Path
) -> None:
    folder = tmp_path / "repository"
    shutil.copytree(repository, folder)
    (folder / "routed" / "1" / "model.onnx").write_bytes(b"not a model")
    (folder / "plain").mkdir()
    with running(tmp_path, folder, "--operators", operators.value) as server:
        status, body = server.post("/v2/repository/index")
        models = {model["name"]: model for model in json.loads(body)}
        ready = [name for name, model in models.items() if model["state"] == "READY"]
        assert ready == ["aa-cifar-resnet20", "adder-lenet5-bn", MODEL]
        assert "model.onnx" in models["routed"]["reason"]
        assert "adroit.json" in models["plain"]["reason"]
        assert server.get("/v2/health/ready")[0] == 200
        status, body = server.get("/v2/models/routed/ready")
        assert (status, "model.onnx" in json.loads(body)["error"]) == (503, True)
        assert server.post("/v2/models/routed/infer", b"{}")[0] == 503
        body, headers = http_request()
        assert server.post(infer_path(MODEL), body, **headers)[0] == 200
        assert server.metric("adroit_model_ready") == 3


FAULTS = ["no repository", "an empty repository", "an unknown model", "a port in use"]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_keeps_a_server_from_starting_is_an_error_with_a_hint(
    fault: str, repository: Path, adroit: Adroit, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1] if fault == "a port in use" else 0
        arguments = {
            "no repository": [tmp_path / "nothing"],
            "an empty repository": [tmp_path],
            "an unknown model": [repository, "--model", "other"],
            "a port in use": [repository],
        }[fault]
        ports = ("--http-port", 0, "--metrics-port", 0, "--grpc-port", port)
        result = adroit("serve", *arguments, *ports, alone=True)
    assert result.code == 2, result.err
    assert result.err.startswith("error: ")
    assert "hint: " in result.err


def test_images_of_any_size_keep_to_their_own_batches(server: Server) -> None:
    """The answers of a network that takes any size do not depend on what waited beside them."""
    sides = [32, 64, 32, 48, 64, 32]
    alone = {}
    for side in set(sides):
        body, headers = http_request(side)
        alone[side] = json.loads(server.post(infer_path(MODEL), body, **headers)[1])["outputs"][0]["data"]
    with grpc.insecure_channel(server.grpc) as channel:
        calls = [channel.unary_unary(GRPC_INFER).future(grpc_request(MODEL, side)) for side in sides]
        for side, call in zip(sides, calls, strict=True):
            content = pb.ModelInferResponse.FromString(call.result()).raw_output_contents[0]
            expected = np.array(alone[side], np.float32)
            np.testing.assert_allclose(np.frombuffer(content, np.float32), expected, rtol=1e-5, atol=1e-5)
