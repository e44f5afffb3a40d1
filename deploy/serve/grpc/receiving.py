"""How much of gRPC's messages may be on its way into memory.

gRPC hands over whole messages and does not tell how large one will be, so that each counts as the largest
while it is read. A call whose message is not read yet holds no more than its window of HTTP/2 (`WINDOW`); so
calls are handled as streams of one message, which is the same on the wire, and read a few at a time. Senders
that are slow hold up others no longer than `_PATIENCE` once somebody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid

# What gRPC must be told for this. By itself it raises windows to megabytes; that of a call that is read grows to
# its message anyway.
WINDOW = 256 << 10
CHANNEL_OPTIONS = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", WINDOW))
# What a message may take from when it is read, in seconds, while calls wait to be read at all.
_PATIENCE = 1.0


class Receiving:
    """The messages that are being received: of calls, and of streams, each at most `limits.messages` at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._calls = asyncio.Semaphore(limits.messages)
        # Of the messages that are being read: when that began; the oldest first.
        self._reading: dict[asyncio.Timeout, float] = {}
        self._waiting = 0
        self._streams = 0

    async def message(self, context: grpc.aio.ServicerContext) -> bytes:
        """A call's only one. Raises Refusal where it does not come, or not in time."""
        seconds = self._limits.receive_seconds
        try:
            async with asyncio.timeout(seconds) as limit:
                self._waiting += 1
                self._hurry()
                try:
                    await self._calls.acquire()
                finally:
                    self._waiting -= 1
                content = await self._read(context, limit)
        except TimeoutError:
            raise Refusal(
                Reason.SLOW, f"the message was not received within {seconds:g} s, or held up others"
            ) from None
        if not isinstance(content, bytes):
            raise invalid("the call has no message")
        return content

    async def _read(self, context: grpc.aio.ServicerContext, limit: asyncio.Timeout) -> object:
        self._reading[limit] = asyncio.get_running_loop().time()
        self._hurry()
        try:
            return await context.read()
        finally:
            del self._reading[limit]
            self._calls.release()

    def _hurry(self) -> None:
        """Where calls wait, as many as do of those that are read, the oldest first, get no more than a little time."""
        if not self._calls.locked():
            return
        now = asyncio.get_running_loop().time()
        for limit, began in list(self._reading.items())[: self._waiting]:
            end = max(now, began + _PATIENCE)
            if not limit.expired() and (limit.when() or 0.0) > end:
                limit.reschedule(end)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Around one that reads message after message. Raises Refusal where there are as many as may be."""
        if self._streams >= self._limits.messages:
            raise Refusal(Reason.BYTES, f"{self._streams} streams are open already, each may send a whole message")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
