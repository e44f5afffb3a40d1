"""Messages of gRPC that are on their way: how many are let into memory, and how long they may take."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import grpc
import pytest

from deploy.runtimes.choices import OperatorForm
from deploy.serve.protocol import open_inference_pb2 as pb
from tests.serve.server import Server, running, until
from tests.serve.test_lifecycle import GRPC_INFER, MODEL, grpc_request

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
MIB = 1 << 20
CLIENTS, MESSAGE, PASSED = 16, 16 * MIB, 12 * MIB


@contextlib.contextmanager
def holding_back(target: str, most: int) -> Iterator[tuple[str, list[int]]]:
    """A proxy that takes connections to `target`, and hands on `most` bytes of what each client sends.

    Yields:
        Its address, and the bytes handed on of each connection.
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
        while passed[number] < most and (data := await reader.read(1 << 16)):
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
    yield places.result(30), passed
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)


@pytest.fixture
def narrow(repository: Path, operators: OperatorForm, tmp_path: Path) -> Iterator[Server]:
    """Room for one message of 16 MiB, and 3 seconds for it."""
    options = ("--model", MODEL, "--operators", operators.value, "--receive-seconds", 3)
    with running(tmp_path, repository, *options, "--body-mib", 16, "--pending-mib", 18) as server:
        yield server


def test_messages_that_come_slowly_are_bounded_in_bytes_and_time(narrow: Server) -> None:
    message = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[bytes(MESSAGE)]).SerializeToString()
    before, most = narrow.resident_mib, 0.0
    with holding_back(narrow.grpc, PASSED) as (address, passed), contextlib.ExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [stack.enter_context(grpc.insecure_channel(address, options)) for _ in range(CLIENTS)]
        calls = [channel.unary_unary(GRPC_INFER).future(message, timeout=60) for channel in channels]

        def ended() -> bool:
            nonlocal most
            most = max(most, narrow.resident_mib)
            return all(call.done() for call in calls)

        until(ended)
        assert {call.code() for call in calls} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        # One came as far as the proxy let it; the others did not leave their windows.
        assert max(passed) >= PASSED > 4 * MIB > sorted(passed)[-2]
    assert most - before < CLIENTS * PASSED / MIB / 2
    with grpc.insecure_channel(narrow.grpc) as channel:
        channel.unary_unary(GRPC_INFER)(grpc_request(32), timeout=30)


def test_streams_are_as_many_as_may_send_a_message_each(narrow: Server) -> None:
    with grpc.insecure_channel(narrow.grpc) as channel:
        sent = threading.Event()

        def one() -> Iterator[bytes]:
            yield grpc_request(32)
            sent.wait(60)

        first = channel.stream_stream(STREAM)(one())
        next(iter(first))
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.stream_stream(STREAM)(iter([grpc_request(32)]), timeout=30))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        sent.set()
        assert list(first) == []
        list(channel.stream_stream(STREAM)(iter([grpc_request(32)]), timeout=30))
