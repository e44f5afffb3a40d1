"""How many messages gRPC receives at a time, and what slow senders do to others (deploy/serve/grpc/receiving.py)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from adroit.deploy.serve.grpc.receiving import MessageReceiver
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from tests.deploy.serve.clock import run_simulated

SECONDS = 600.0


class _Call:
    """A call whose message comes when the test says so."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()

    async def read(self) -> bytes:
        await self.sent.wait()
        return b"message"


def _receiver(places: int) -> MessageReceiver:
    limits = Limits()
    limits = replace(limits, pending_bytes=places * limits.message_bytes, receive_seconds=SECONDS)
    assert limits.messages == places
    return MessageReceiver(limits)


def test_slow_senders_give_way_to_those_that_wait() -> None:
    async def scene() -> None:
        receiver, slow, quick = _receiver(2), [_Call(), _Call()], [_Call() for _ in range(5)]
        held = [asyncio.create_task(receiver.receive(call)) for call in slow]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        for call in quick:
            call.sent.set()
        messages = await asyncio.gather(*(receiver.receive(call) for call in quick))  # type: ignore[arg-type]
        assert messages == [b"message"] * 5
        assert asyncio.get_running_loop().time() < SECONDS
        for end in await asyncio.gather(*held, return_exceptions=True):
            assert isinstance(end, Refusal) and end.reason is Reason.REQUEST_TIMEOUT

    run_simulated(scene())


def test_slow_senders_that_waited_themselves_give_way_too() -> None:
    async def scene() -> None:
        receiver, slow, quick = _receiver(2), [_Call() for _ in range(9)], _Call()
        held = [asyncio.create_task(receiver.receive(call)) for call in slow]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        quick.sent.set()
        assert await receiver.receive(quick) == b"message"  # type: ignore[arg-type]
        assert asyncio.get_running_loop().time() < SECONDS
        for task in held:
            task.cancel()

    run_simulated(scene())


def test_slow_senders_have_all_their_time_while_nobody_waits() -> None:
    async def scene() -> None:
        receiver, call = _receiver(2), _Call()
        reading = asyncio.create_task(receiver.receive(call))  # type: ignore[arg-type]
        await asyncio.sleep(SECONDS - 1.0)
        assert not reading.done()
        call.sent.set()
        assert await reading == b"message"

    run_simulated(scene())


def test_a_message_that_does_not_come_in_time_gives_its_place_to_another() -> None:
    async def scene() -> None:
        receiver, silent, quick = _receiver(1), _Call(), _Call()
        with pytest.raises(Refusal) as refused:
            await receiver.receive(silent)  # type: ignore[arg-type]
        assert refused.value.reason is Reason.REQUEST_TIMEOUT
        assert asyncio.get_running_loop().time() == SECONDS
        quick.sent.set()
        assert await receiver.receive(quick) == b"message"  # type: ignore[arg-type]

    run_simulated(scene())
