"""More requests than a server can run: each is answered, and what nobody waits for is not computed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.runtimes.choices import OperatorForm
from tests.deploy.serve.held import HeldServer, running_held
from tests.deploy.serve.messages import GRPC_INFER, grpc_request, http_bytes, http_request, infer_path
from tests.deploy.serve.server import PATIENCE, running, until

QUEUE = 128


@pytest.fixture(scope="module")
def held(
    lenet_deployment: Deployment, operators: OperatorForm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HeldServer]:
    """A server that runs one image at a time, and only while the test does not hold it."""
    options = ("--operators", operators.value, "--queue", QUEUE)
    with running_held(tmp_path_factory.mktemp("held"), lenet_deployment.path, *options) as started:
        yield started


# ---- cancelling ----


def test_calls_that_are_cancelled_in_the_queue_are_not_computed(held: HeldServer) -> None:
    before = held.executions
    with grpc.insecure_channel(held.server.grpc) as channel:
        infer = channel.unary_unary(GRPC_INFER)
        with held.hold():
            calls = [infer.future(grpc_request(held.model)) for _ in range(100)]
            until(lambda: held.waiting == 99)  # and one runs
            for call in calls:
                call.cancel()
            until(lambda: held.waiting == 0)
        infer(grpc_request(held.model), timeout=PATIENCE)
    assert held.executions - before == 2  # the one that ran, and the last one


def test_requests_of_clients_that_left_are_not_computed(held: HeldServer) -> None:
    before = held.executions
    host, port = held.server.http.split(":")
    with held.hold():
        connections = [socket.create_connection((host, int(port))) for _ in range(100)]
        for connection in connections:
            connection.sendall(http_bytes(held.model))
        until(lambda: held.waiting == 99)
        for connection in connections:
            connection.close()
        until(lambda: held.waiting == 0)
    until(lambda: held.server.metric("adroit_pending_bytes") == 0)
    assert held.executions - before <= 1  # the one that ran, where it was counted although its client had left


@pytest.mark.parametrize("by", ["parameter", "call"])
def test_a_request_that_waits_longer_than_it_may_gets_deadline_exceeded(held: HeldServer, by: str) -> None:
    """The limit is a parameter of the request, or the deadline of the call."""
    with grpc.insecure_channel(held.server.grpc) as channel, held.hold():
        infer = channel.unary_unary(GRPC_INFER)
        running_call = infer.future(grpc_request(held.model))
        waiting_call = infer.future(grpc_request(held.model))
        until(lambda: held.waiting == 1)
        hasty = pb.ModelInferRequest.FromString(grpc_request(held.model))
        if by == "parameter":
            hasty.parameters["timeout"].int64_param = 1000
        with pytest.raises(grpc.RpcError) as caught:
            infer(hasty.SerializeToString(), timeout=0.1 if by == "call" else PATIENCE)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert not running_call.done()
        assert not waiting_call.done()
        for call in (running_call, waiting_call):
            call.cancel()
        until(lambda: held.waiting == 0)


# ---- bounds ----


def test_with_too_many_requests_every_one_is_answered(held: HeldServer) -> None:
    """Of 300 at once, those that have no place are refused before any of those that have is computed."""
    host, port = held.server.http.split(":")
    requests_before = held.server.metric("adroit_requests_total")
    refusals: list[int] = []

    async def send(message: bytes) -> int:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(message)
        status = int((await reader.readline()).split()[1])
        if status == 503:
            refusals.append(status)
        writer.close()
        return status

    async def send_all() -> list[int]:
        with held.hold():
            tasks = [asyncio.create_task(send(http_bytes(held.model))) for _ in range(300)]
            async with asyncio.timeout(PATIENCE):
                while len(refusals) < 300 - QUEUE - 1:
                    await asyncio.sleep(0.01)
            assert not any(task.done() and task.result() != 503 for task in tasks)
        return await asyncio.gather(*tasks)

    statuses = asyncio.run(send_all())
    assert sorted(statuses) == [200] * (QUEUE + 1) + [503] * (300 - QUEUE - 1)  # one ran
    assert held.server.metric("adroit_requests_total") - requests_before == 300


def test_a_full_queue_refuses_before_the_body_is_sent(
    lenet_deployment: Deployment, operators: OperatorForm, tmp_path: Path
) -> None:
    """What a crowd wants to send is not all read before most of it is refused.

    A connection serves on where the body is sent nevertheless, and is ended where it does not come in time.
    """
    options = ("--operators", operators.value, "--queue", 1, "--receive-seconds", 5)
    body, headers = http_request()
    with running_held(tmp_path, lenet_deployment.path, *options) as held:
        server, path = held.server, infer_path(held.model)
        clients = [threading.Thread(target=lambda: server.post(path, body, **headers)) for _ in range(2)]
        with held.hold():
            clients[0].start()
            until(lambda: held.running)
            clients[1].start()
            until(lambda: held.waiting == 1)
            host, port = server.http.split(":")
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            for sends_body in (True, False):
                with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
                    connection.sendall(head)
                    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 503")
                    if sends_body:
                        connection.sendall(body + b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
                        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
                    else:
                        assert connection.recv(1 << 16) == b""
        for client in clients:
            client.join(PATIENCE)


def test_a_bound_on_bytes_refuses_what_would_pass_it(
    lenet_deployment: Deployment, operators: OperatorForm, tmp_path: Path
) -> None:
    path = infer_path(lenet_deployment.path.name)
    options = ("--operators", operators.value, "--pending-mib", 1)
    with running(tmp_path, lenet_deployment.path, *options) as server:
        body, headers = http_request(640)  # 1.2 MB
        assert server.post(path, body, **headers)[0] == 503
        body, headers = http_request()
        assert server.post(path, body, **headers)[0] == 200


def test_calls_of_grpc_are_bounded(lenet_deployment: Deployment, operators: OperatorForm, tmp_path: Path) -> None:
    options = ("--operators", operators.value, "--grpc-calls", 2)
    message = grpc_request(lenet_deployment.path.name)
    with running(tmp_path, lenet_deployment.path, *options) as server, grpc.insecure_channel(server.grpc) as channel:
        infer = channel.unary_unary(GRPC_INFER)
        end = threading.Event()

        def silent() -> Iterator[bytes]:
            yield b""  # a client may keep its call to itself until it has something to send
            end.wait(PATIENCE)

        streams = [channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(silent()) for _ in "ab"]

        def refused() -> bool:
            try:
                infer(message, timeout=PATIENCE)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                return True
            return False

        for stream in streams:
            next(stream)  # the answer to what it sent: the call has been taken, and no other is in its place
        assert refused()
        end.set()
        for stream in streams:
            list(stream)
        until(lambda: not refused())


def test_several_instances_share_one_queue(
    lenet_deployment: Deployment, operators: OperatorForm, tmp_path: Path
) -> None:
    options = ("--operators", operators.value, "--instances", 3)
    with running_held(tmp_path, lenet_deployment.path, *options) as held:
        with grpc.insecure_channel(held.server.grpc) as channel:
            with held.hold():
                calls = [channel.unary_unary(GRPC_INFER).future(grpc_request(held.model)) for _ in range(40)]
                until(lambda: held.waiting == 37)  # and three run
            results = {pb.ModelInferResponse.FromString(call.result()).raw_output_contents[0] for call in calls}
        assert len(results) == 1
        assert held.executions == 40
