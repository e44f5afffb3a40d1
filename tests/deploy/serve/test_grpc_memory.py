"""Messages of gRPC that are on their way: how many are let into memory, and how long they may take."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import grpc
import pytest

from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.runtimes.choices import OperatorForm
from tests.deploy.serve.server import Server, running, until
from tests.deploy.serve.test_lifecycle import GRPC_INFER, MODEL, grpc_request

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
MIB = 1 << 20
CLIENTS, PASSED = 12, 12 * MIB


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

    async def end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    yield places.result(30), passed
    asyncio.run_coroutine_threadsafe(end(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


@contextlib.contextmanager
def narrow(folder: Path, repository: Path, operators: OperatorForm, seconds: int) -> Iterator[Server]:
    """Room for one message of 16 MiB, and so many seconds for it."""
    options = ("--model", MODEL, "--operators", operators.value, "--receive-seconds", seconds)
    with running(folder, repository, *options, "--body-mib", 16, "--pending-mib", 18) as server:
        yield server


MESSAGE = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[bytes(16 * MIB)]).SerializeToString()


def test_one_message_at_a_time_comes_into_room_for_one(
    repository: Path, operators: OperatorForm, tmp_path: Path
) -> None:
    with narrow(tmp_path, repository, operators, 600) as server, holding_back(server.grpc, PASSED) as (address, passed):
        before = server.resident_mib
        with contextlib.ExitStack() as stack:
            options = [("grpc.use_local_subchannel_pool", 1)]
            channels = [stack.enter_context(grpc.insecure_channel(address, options)) for _ in range(CLIENTS)]
            calls = [channel.unary_unary(GRPC_INFER).future(MESSAGE) for channel in channels]
            until(lambda: len(passed) >= CLIENTS and max(passed) >= PASSED)
            time.sleep(0.5)  # for the others to do what they should not
            large, memory = sum(size >= MIB for size in passed), server.resident_mib
            # gRPC ends a connection that says nothing for long, as it seems to where this machine stands still.
            ended = sum(call.done() for call in calls)
            assert large <= 1 + ended, "others left their windows"
            assert ended or memory - before < CLIENTS * PASSED / MIB / 3
            for call in calls:
                call.cancel()


def test_a_message_that_comes_slowly_is_given_up(repository: Path, operators: OperatorForm, tmp_path: Path) -> None:
    with (
        narrow(tmp_path, repository, operators, 1) as server,
        holding_back(server.grpc, PASSED) as (address, _),
        grpc.insecure_channel(address) as channel,
    ):
        call = channel.unary_unary(GRPC_INFER).future(MESSAGE)
        assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert "was not received" in call.details()
        with grpc.insecure_channel(server.grpc) as other:  # its place is free again
            other.unary_unary(GRPC_INFER)(grpc_request(32), timeout=60)


def test_streams_are_as_many_as_may_send_a_message_each(
    repository: Path, operators: OperatorForm, tmp_path: Path
) -> None:
    with narrow(tmp_path, repository, operators, 60) as server, grpc.insecure_channel(server.grpc) as channel:
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
