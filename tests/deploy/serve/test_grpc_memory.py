"""Messages of gRPC that are on their way: how many come into memory, and how long they may take."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import grpc
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.runtimes.choices import OperatorForm
from tests.deploy.serve.messages import GRPC_INFER, grpc_request
from tests.deploy.serve.server import PATIENCE, Server, running, until

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
MIB = 1 << 20
CLIENTS, PASSED = 12, 12 * MIB


@contextlib.contextmanager
def holding_back(target: str, maximum: int) -> Iterator[tuple[str, list[int]]]:
    """Run a proxy to `target` that hands on `maximum` bytes of what each client sends.

    Yields:
        its address, and the number of bytes handed on for each connection.
    """
    loop, passed, places = asyncio.new_event_loop(), list[int](), Future[str]()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = target.rpartition(":")
        back, forth = await asyncio.open_connection(host, int(port))
        number = len(passed)
        passed.append(0)

        async def answers() -> None:
            while data := await back.read(1 << 16):
                writer.write(data)

        returning = asyncio.create_task(answers())
        while passed[number] < maximum and (data := await reader.read(1 << 16)):
            forth.write(data)
            await forth.drain()
            passed[number] += len(data)
        await returning
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        places.set_result("{}:{}".format(*server.sockets[0].getsockname()))

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(serve(), loop)

    async def end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    yield places.result(PATIENCE), passed
    asyncio.run_coroutine_threadsafe(end(), loop).result(PATIENCE)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE)
    loop.close()


@contextlib.contextmanager
def narrow(folder: Path, deployment: Deployment, operators: OperatorForm, seconds: int) -> Iterator[Server]:
    """Run a server with room for one message of 16 MiB, and so many seconds for it."""
    options = ("--operators", operators.value, "--receive-seconds", seconds, "--body-mib", 16, "--pending-mib", 18)
    with running(folder, deployment.path, *options) as server:
        yield server


@pytest.fixture(scope="module")
def patient(
    lenet_deployment: Deployment, operators: OperatorForm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with room for one message, and all the time for it."""
    with narrow(tmp_path_factory.mktemp("patient"), lenet_deployment, operators, 600) as server:
        yield server


def large_message(deployment: Deployment) -> bytes:
    """Return a message of 16 MiB, whose tensor is no image of the model."""
    message = pb.ModelInferRequest(model_name=deployment.path.name, raw_input_contents=[bytes(16 * MIB)])
    return bytes(message.SerializeToString())


def test_one_message_at_a_time_comes_into_room_for_one(patient: Server, lenet_deployment: Deployment) -> None:
    """The bytes that a client may send before its message is read are bounded by its window of HTTP/2."""
    message = large_message(lenet_deployment)
    with holding_back(patient.grpc, PASSED) as (address, passed), contextlib.ExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [stack.enter_context(grpc.insecure_channel(address, options)) for _ in range(CLIENTS)]
        calls = [channel.unary_unary(GRPC_INFER).future(message) for channel in channels]
        until(lambda: len(passed) >= CLIENTS and max(passed) >= PASSED and min(passed[:CLIENTS]) > 0)
        for _ in range(20):  # the server's loop turns many times: the others could do what they should not
            patient.get("/v2/health/live")
        large = sum(size >= MIB for size in passed)
        # gRPC ends a connection that says nothing for long, as it seems to where this machine stands still.
        ended = sum(call.done() for call in calls)
        assert large <= 1 + ended, "others left their windows"
        assert ended or sum(passed) < PASSED + CLIENTS * MIB
        for call in calls:
            call.cancel()


def test_a_message_that_comes_slowly_is_given_up(
    lenet_deployment: Deployment, operators: OperatorForm, tmp_path: Path
) -> None:
    with (
        narrow(tmp_path, lenet_deployment, operators, 3) as server,
        holding_back(server.grpc, PASSED) as (address, _),
        grpc.insecure_channel(address) as channel,
    ):
        call = channel.unary_unary(GRPC_INFER).future(large_message(lenet_deployment))
        assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert "was not received" in call.details()
        with grpc.insecure_channel(server.grpc) as other:  # its place is free again
            until(lambda: answered(other, grpc_request(lenet_deployment.path.name)))


def answered(channel: grpc.Channel, message: bytes) -> bool:
    """Tell whether a message got an answer; on a slow machine it may not come within its 3 seconds either."""
    try:
        channel.unary_unary(GRPC_INFER)(message, timeout=PATIENCE)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        return False
    return True


def test_streams_are_as_many_as_may_send_a_message_each(patient: Server, lenet_deployment: Deployment) -> None:
    message = grpc_request(lenet_deployment.path.name)
    with grpc.insecure_channel(patient.grpc) as channel:
        end = threading.Event()

        def one() -> Iterator[bytes]:
            yield message
            end.wait(PATIENCE)

        first = channel.stream_stream(STREAM)(one())
        next(iter(first))
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.stream_stream(STREAM)(iter([message]), timeout=PATIENCE))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        end.set()
        assert list(first) == []
        list(channel.stream_stream(STREAM)(iter([message]), timeout=PATIENCE))
