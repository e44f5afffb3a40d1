"""Under load and at the end: what is accepted is answered, what nobody waits for is not computed."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.runtimes.choices import OperatorForm
from tests.conftest import Adroit
from tests.deploy.serve.server import Server, running, until

MODEL = "adder-resnet20"
INFER = f"/v2/models/{MODEL}/infer"
GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"
# Large enough that executions can be watched: 16 to 100 times the work of a CIFAR image.
SIDE = 128


def http_request(side: int = SIDE) -> tuple[bytes, dict[str, str]]:
    shape = [1, side, side, 3]
    tensor = {"name": "image", "datatype": "UINT8", "shape": shape, "parameters": {"binary_data_size": side * side * 3}}
    header = json.dumps({"inputs": [tensor], "outputs": [{"name": "logits"}]}).encode()
    return header + bytes(side * side * 3), {"Inference-Header-Content-Length": str(len(header))}


def grpc_request(side: int = SIDE) -> bytes:
    message = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[bytes(side * side * 3)])
    message.inputs.add(name="image", datatype="UINT8", shape=[1, side, side, 3])
    return bytes(message.SerializeToString())


@pytest.fixture
def busy(repository: Path, operators: OperatorForm, tmp_path: Path) -> Iterator[Server]:
    """A server of its own, that a test may overload and stop. It runs one sample at a time."""
    options = ("--model", MODEL, "--operators", operators.value, "--batch", 1, "--queue", 128)
    with running(tmp_path, repository, *options) as started:
        yield started


def executions(server: Server) -> int:
    return int(server.json(f"/v2/models/{MODEL}/stats")["model_stats"][0]["execution_count"])


# ---- stopping ----


class Load:
    """Clients that send one request after the other until the server is gone; how each request ended."""

    def __init__(self, server: Server) -> None:
        self.server, self.ends = server, Counter[str]()
        self._clients = [threading.Thread(target=self._http) for _ in range(8)]
        self._clients += [threading.Thread(target=self._grpc) for _ in range(8)]

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.join(30)

    def _http(self) -> None:
        """One connection, that the server may end after an answer and not otherwise."""
        host, port = self.server.http.split(":")
        body, headers = http_request(32)
        while True:
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            try:
                connection.connect()
            except OSError:
                return  # nothing was sent
            try:
                while connection.sock is not None:
                    connection.request("POST", INFER, body, headers)
                    with connection.getresponse() as response:
                        response.read()
                        self.ends[f"http {response.status}"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.ends[f"lost: {error!r}"] += 1
                return

    def _grpc(self) -> None:
        with grpc.insecure_channel(self.server.grpc) as channel:
            while True:
                try:
                    channel.unary_unary(GRPC_INFER)(grpc_request(32), timeout=30)
                    self.ends["grpc OK"] += 1
                except grpc.RpcError as error:
                    # UNAVAILABLE is how gRPC says that a call was not taken up.
                    self.ends[
                        "grpc UNAVAILABLE" if error.code() == grpc.StatusCode.UNAVAILABLE else f"lost: {error}"
                    ] += 1
                    return


@pytest.mark.parametrize("attempt", range(3))
def test_a_signal_to_stop_loses_no_accepted_request(attempt: int, busy: Server) -> None:
    host, port = busy.http.split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(4)]
    kept = http.client.HTTPConnection(host, int(port))
    kept.request("GET", "/v2")
    kept.getresponse().read()
    with Load(busy) as load:
        until(lambda: load.ends["http 200"] > 20 and load.ends["grpc OK"] > 20)
        assert busy.stop() == 0
    assert not [end for end in load.ends if end.startswith("lost")], load.ends
    assert set(load.ends) <= {"http 200", "grpc OK", "http 503", "grpc UNAVAILABLE"}
    events = [event["event"] for event in busy.events()]
    assert events[-2:] == ["stopping", "stopped"]
    assert "a bug of ours" not in events
    for connection in idle:
        connection.close()


def test_it_stops_while_models_are_being_loaded(repository: Path, operators: OperatorForm, tmp_path: Path) -> None:
    with running(tmp_path, repository, "--operators", operators.value, wait=False) as server:
        assert server.stop() == 0


# ---- cancelling ----


def test_calls_that_are_cancelled_in_the_queue_are_not_computed(busy: Server) -> None:
    with grpc.insecure_channel(busy.grpc) as channel:
        calls = [channel.unary_unary(GRPC_INFER).future(grpc_request()) for _ in range(100)]
        until(lambda: executions(busy) > 0 and busy.counted("adroit_queue_requests") > 50)
        for call in calls:
            call.cancel()
        before = executions(busy)
        until(lambda: busy.counted("adroit_queue_requests") == 0)
        channel.unary_unary(GRPC_INFER)(grpc_request(32))
        # That last one, and at most what ran while they were cancelled and what started before the server knew.
        assert executions(busy) - before <= 3


def test_requests_of_clients_that_left_are_not_computed(busy: Server) -> None:
    host, port = busy.http.split(":")
    body, headers = http_request()
    head = f"POST {INFER} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connections = [socket.create_connection((host, int(port))) for _ in range(100)]
    for connection in connections:
        connection.sendall(head.encode() + b"\r\n" + body)
    until(lambda: executions(busy) > 0 and busy.counted("adroit_queue_requests") > 50)
    for connection in connections:
        connection.close()
    before = executions(busy)
    until(lambda: busy.counted("adroit_queue_requests") == 0)
    until(lambda: busy.counted("adroit_pending_bytes") == 0)
    assert executions(busy) - before <= 2


@pytest.mark.parametrize("by", ["parameter", "call"])
def test_a_request_that_waits_longer_than_it_may_is_told_so(busy: Server, by: str) -> None:
    """Its time is a parameter of the request, or the deadline of the call."""
    with grpc.insecure_channel(busy.grpc) as channel:
        # Work for seconds, so that the hasty one finds others before it however slow this process is.
        calls = [channel.unary_unary(GRPC_INFER).future(grpc_request(4 * SIDE)) for _ in range(50)]
        until(lambda: busy.counted("adroit_queue_requests") > 20)
        hasty = pb.ModelInferRequest.FromString(grpc_request())
        if by == "parameter":
            hasty.parameters["timeout"].int64_param = 1000
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(GRPC_INFER)(hasty.SerializeToString(), timeout=0.001 if by == "call" else None)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert not calls[-1].done()
        for call in calls:
            call.cancel()


# ---- overload ----


def test_with_too_many_requests_every_one_is_answered(busy: Server) -> None:
    """300 at once on a queue of 128: those that have no place are refused before those that have are computed."""
    ends: list[int] = []
    body, headers = http_request()

    async def one() -> None:
        host, port = busy.http.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{told}\r\n".encode() + body)
        ends.append(int((await reader.readline()).split()[1]))
        writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(300)))

    asyncio.run(all_of_them())
    assert set(Counter(ends)) == {200, 503}
    assert ends.count(200) >= 128
    assert 503 not in ends[-64:]
    rejected = busy.counted("adroit_requests_total") - ends.count(200)
    assert rejected == ends.count(503)


def test_a_bound_on_bytes_refuses_what_would_pass_it(repository: Path, operators: OperatorForm, tmp_path: Path) -> None:
    options = ("--model", MODEL, "--operators", operators.value, "--pending-mib", 1)
    with running(tmp_path, repository, *options) as server:
        body, headers = http_request(640)  # 1.2 MB
        assert server.post(INFER, body, **headers)[0] == 503
        body, headers = http_request(32)
        assert server.post(INFER, body, **headers)[0] == 200


def test_a_full_queue_refuses_before_the_body_is_sent(
    repository: Path, operators: OperatorForm, tmp_path: Path
) -> None:
    """So that what a crowd wants to send is not all read before most of it is refused.

    A connection serves on where the body is sent nevertheless, and is ended where it does not come in time.
    """
    options = ("--model", MODEL, "--operators", operators.value, "--queue", 1, "--delay", 1000, "--batch", 2)
    options = (*options, "--receive-seconds", 2)
    body, headers = http_request()
    with running(tmp_path, repository, *options) as server:
        waiting = threading.Thread(target=lambda: server.post(INFER, body, **headers), daemon=True)
        waiting.start()
        until(lambda: server.counted("adroit_queue_requests") == 1)
        host, port = server.http.split(":")
        head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with (
            socket.create_connection((host, int(port)), timeout=30) as made,
            socket.create_connection((host, int(port)), timeout=30) as silent,
        ):
            for connection in (made, silent):
                connection.sendall(head)
                assert connection.recv(1 << 16).startswith(b"HTTP/1.1 503")
            made.sendall(body + b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert made.recv(1 << 16).startswith(b"HTTP/1.1 200")
            assert silent.recv(1 << 16) == b""
        waiting.join(30)


def test_calls_of_grpc_are_bounded(repository: Path, operators: OperatorForm, tmp_path: Path) -> None:
    options = ("--model", MODEL, "--operators", operators.value, "--grpc-calls", 2)
    with running(tmp_path, repository, *options) as server, grpc.insecure_channel(server.grpc) as channel:
        infer = channel.unary_unary(GRPC_INFER)
        done = threading.Event()

        def silent() -> Iterator[bytes]:
            yield b""  # a client may keep its call to itself until it has something to send
            done.wait(60)

        streams = [channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(silent()) for _ in "ab"]

        def refused() -> bool:
            try:
                infer(grpc_request(32), timeout=30)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                return True
            return False

        for stream in streams:
            next(stream)  # the answer to what it sent: the call has been taken, and no other is in its place
        assert refused()
        done.set()
        for stream in streams:
            list(stream)
        until(lambda: not refused())


# ---- a repository that is not all well ----


def test_a_corrupt_deployment_is_not_ready_and_says_why_while_the_others_serve(
    repository: Path, operators: OperatorForm, tmp_path: Path
) -> None:
    folder = tmp_path / "repository"
    shutil.copytree(repository, folder)
    (folder / "routed" / "1" / "model.onnx").write_bytes(b"not a model")
    (folder / "plain").mkdir()
    with running(tmp_path, folder, "--operators", operators.value) as server:
        status, body = server.post("/v2/repository/index")
        told = {model["name"]: model for model in json.loads(body)}
        assert [name for name, model in told.items() if model["state"] == "READY"] == [
            "aa-cifar-resnet20",
            "adder-lenet5-bn",
            MODEL,
        ]
        assert "model.onnx" in told["routed"]["reason"]
        assert "adroit.json" in told["plain"]["reason"]
        assert server.get("/v2/health/ready")[0] == 200
        status, body = server.get("/v2/models/routed/ready")
        assert (status, "model.onnx" in json.loads(body)["error"]) == (503, True)
        assert server.post("/v2/models/routed/infer", b"{}")[0] == 503
        body, headers = http_request(32)
        assert server.post(INFER, body, **headers)[0] == 200
        assert server.counted("adroit_model_ready") == 3


@pytest.mark.parametrize("fault", ["no repository", "an empty repository", "an unknown model", "a port that is taken"])
def test_what_keeps_a_server_from_starting_is_told(
    fault: str, repository: Path, adroit: Adroit, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = {
            "no repository": [tmp_path / "nothing"],
            "an empty repository": [tmp_path],
            "an unknown model": [repository, "--model", "other"],
            "a port that is taken": [repository, "--grpc-port", port],
        }[fault]
        result = adroit("serve", *arguments, "--http-port", 0, "--metrics-port", 0, *[] if len(arguments) > 1 and
                        arguments[1] == "--grpc-port" else ["--grpc-port", 0], alone=True)  # fmt: skip
    assert result.code == 2, result.err
    assert result.err.startswith("error: ")
    assert "hint: " in result.err


def test_pixels_of_any_size_keep_to_their_own_batches(server: Server) -> None:
    """A network that takes any size: answers do not depend on what waited beside them."""
    sides = [32, 64, 32, 48, 64, 32]
    alone = {side: server.post(INFER, *(), **_headers(side), body=http_request(side)[0])[1] for side in set(sides)}
    with grpc.insecure_channel(server.grpc) as channel:
        calls = [channel.unary_unary(GRPC_INFER).future(grpc_request(side)) for side in sides]
        for side, call in zip(sides, calls, strict=True):
            found = np.frombuffer(pb.ModelInferResponse.FromString(call.result()).raw_output_contents[0], np.float32)
            expected = np.array(json.loads(alone[side])["outputs"][0]["data"], np.float32)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def _headers(side: int) -> dict[str, str]:
    return http_request(side)[1]


def test_several_instances_share_one_queue(repository: Path, operators: OperatorForm, tmp_path: Path) -> None:
    options = ("--model", MODEL, "--operators", operators.value, "--batch", 1, "--instances", 3)
    with running(tmp_path, repository, *options) as server, grpc.insecure_channel(server.grpc) as channel:
        calls = [channel.unary_unary(GRPC_INFER).future(grpc_request(32)) for _ in range(40)]
        answers = {pb.ModelInferResponse.FromString(call.result()).raw_output_contents[0] for call in calls}
        assert len(answers) == 1
        assert executions(server) == 40
