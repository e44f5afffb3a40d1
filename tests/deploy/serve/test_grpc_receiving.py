"""Who may send over gRPC at a time, and what slow senders do to others (deploy/serve/grpc/receiving.py)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from adroit.deploy.serve.grpc import receiving
from adroit.deploy.serve.grpc.receiving import MessageReceiver
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.refusal import Reason, Refusal


class _Call:
    """A call whose message comes when it is told to."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()

    async def read(self) -> bytes:
        await self.sent.wait()
        return b"message"


def _receiving(places: int) -> MessageReceiver:
    limits = Limits()
    limits = replace(limits, pending_bytes=places * limits.message_bytes, receive_seconds=600.0)
    assert limits.messages == places
    return MessageReceiver(limits)


def test_slow_senders_give_way_to_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the call that waits would wait for 600 s: longer than the test may take."""
    monkeypatch.setattr(receiving, "_PATIENCE", 0.01)

    async def scene() -> None:
        receiving, slow, quick = _receiving(2), [_Call(), _Call()], [_Call() for _ in range(5)]
        held = [asyncio.create_task(receiving.receive(call)) for call in slow]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        for call in quick:
            call.sent.set()
        messages = await asyncio.gather(*(receiving.receive(call) for call in quick))  # type: ignore[arg-type]
        assert messages == [b"message"] * 5
        for end in await asyncio.gather(*held, return_exceptions=True):
            assert isinstance(end, Refusal) and end.reason is Reason.REQUEST_TIMEOUT

    asyncio.run(scene())


def test_slow_senders_that_waited_themselves_give_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_PATIENCE", 0.01)

    async def scene() -> None:
        receiving, slow, quick = _receiving(2), [_Call() for _ in range(9)], _Call()
        held = [asyncio.create_task(receiving.receive(call)) for call in slow]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        quick.sent.set()
        assert await receiving.receive(quick) == b"message"  # type: ignore[arg-type]
        for task in held:
            task.cancel()

    asyncio.run(scene())


def test_slow_senders_have_all_their_time_while_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_PATIENCE", 0.01)

    async def scene() -> None:
        receiving, call = _receiving(2), _Call()
        reading = asyncio.create_task(receiving.receive(call))  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        assert not reading.done()
        call.sent.set()
        assert await reading == b"message"

    asyncio.run(scene())
