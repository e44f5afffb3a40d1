"""What a client may not do unless the operator says so."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.serve.options import ServeOptions
from tests.conftest import Adroit
from tests.deploy.serve.server import PATIENCE, Server, running

SERVICE = "/inference.GRPCInferenceService/"


@pytest.fixture(scope="module")
def closed(
    lenet_deployment: Deployment, operators: OperatorForm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server as it starts without further options, but for a token."""
    folder = tmp_path_factory.mktemp("closed")
    (folder / "token").write_text("secret-of-the-tests\n")
    options = ("--token-file", folder / "token", "--operators", operators.value)
    with running(folder, lenet_deployment.path, *options) as started:
        yield started


TOKEN = {"Authorization": "Bearer secret-of-the-tests"}
METADATA = [("authorization", TOKEN["Authorization"])]


def code_of(server: Server, method: str, message: bytes, metadata: list[tuple[str, str]]) -> grpc.StatusCode:
    with grpc.insecure_channel(server.grpc) as channel:
        try:
            channel.unary_unary(SERVICE + method)(message, metadata=metadata, timeout=PATIENCE)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def test_it_listens_to_this_machine_only_by_default(closed: Server) -> None:
    assert ServeOptions(Path()).host == "127.0.0.1"
    assert all(where.startswith("127.0.0.1:") for where in (closed.http, closed.grpc, closed.metrics))


def test_without_the_token_only_health_is_answered(closed: Server) -> None:
    assert closed.get("/v2/health/live")[0] == 200
    assert closed.get("/v2/health/ready")[0] == 200
    for wrong in ({}, {"Authorization": "Bearer other"}, {"Authorization": "secret-of-the-tests"}):
        assert closed.send("GET", "/v2", **wrong)[0] == 401
        assert closed.post(f"/v2/models/{closed_model(closed)}/infer", b"{}", **wrong)[0] == 401
    assert closed.send("GET", "/v2", **TOKEN)[0] == 200
    assert code_of(closed, "ServerLive", b"", []) == grpc.StatusCode.OK
    assert code_of(closed, "ServerMetadata", b"", []) == grpc.StatusCode.UNAUTHENTICATED
    assert code_of(closed, "ModelInfer", b"", [("authorization", "Bearer x")]) == grpc.StatusCode.UNAUTHENTICATED
    assert code_of(closed, "ServerMetadata", b"", METADATA) == grpc.StatusCode.OK


def closed_model(server: Server) -> str:
    status, body = server.post("/v2/repository/index", **TOKEN)
    assert status == 200
    return str(json.loads(body)[0]["name"])


def test_a_stream_wants_the_token_too(closed: Server) -> None:
    with grpc.insecure_channel(closed.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream(SERVICE + "ModelStreamInfer")(iter([b""]), timeout=PATIENCE))
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_models_are_not_loaded_and_unloaded_by_clients(closed: Server) -> None:
    name = closed_model(closed)
    for action in ("load", "unload"):
        assert closed.post(f"/v2/repository/models/{name}/{action}", **TOKEN)[0] == 403
    message = pb.RepositoryModelUnloadRequest(model_name=name).SerializeToString()
    assert code_of(closed, "RepositoryModelUnload", message, METADATA) == grpc.StatusCode.PERMISSION_DENIED
    assert closed.send("GET", f"/v2/models/{name}/ready", **TOKEN)[0] == 200


def test_shared_memory_is_not_touched(closed: Server) -> None:
    body = json.dumps({"key": "/x", "byte_size": 8}).encode()
    assert closed.post("/v2/systemsharedmemory/region/r/register", body, **TOKEN)[0] == 403
    message = pb.SystemSharedMemoryRegisterRequest(name="r", key="/x", byte_size=8).SerializeToString()
    assert code_of(closed, "SystemSharedMemoryRegister", message, METADATA) == grpc.StatusCode.PERMISSION_DENIED


def test_only_named_models_are_served(repository: Path, tmp_path: Path, operators: OperatorForm) -> None:
    with running(tmp_path, repository, "--model", "adder-lenet5-bn", "--operators", operators.value) as one:
        _, body = one.post("/v2/repository/index")
        assert [model["name"] for model in json.loads(body)] == ["adder-lenet5-bn"]
        assert one.get("/v2/models/routed")[0] == 404


def test_tls(lenet_deployment: Deployment, operators: OperatorForm, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"openssl created no certificate: {done.stderr.decode()[-200:]}")
    options = ("--certificate", certificate, "--key", key, "--operators", operators.value)
    with running(tmp_path, lenet_deployment.path, *options, wait=False) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        with urllib.request.urlopen(f"https://{server.http}/v2", context=context) as response:
            assert json.load(response)["name"] == "adroit"
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(f"http://{server.http}/v2")
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(server.grpc, credentials) as channel:
            channel.unary_unary(SERVICE + "ServerLive")(b"", timeout=PATIENCE)
        assert server.stop() == 0


@pytest.mark.parametrize("fault", ["no token", "no file", "a certificate without its key"])
def test_half_given_security_is_refused(fault: str, repository: Path, adroit: Adroit, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    arguments = {
        "no token": ("--token-file", tmp_path / "empty"),
        "no file": ("--token-file", tmp_path / "missing"),
        "a certificate without its key": ("--certificate", tmp_path / "empty"),
    }[fault]
    result = adroit("serve", repository, *arguments)
    assert (result.code, "hint: " in result.err or "reason" in result.err) == (2, True), result.err
