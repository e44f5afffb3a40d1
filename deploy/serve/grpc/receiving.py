"""The limit of gRPC messages that are on their way into memory.

gRPC hands over whole messages and does not say how large one will be, so each counts as the largest
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

# gRPC's options for this. By itself it raises windows to megabytes; the window of a call that is read grows to its
# message anyway.
WINDOW = 256 << 10
CHANNEL_OPTIONS = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", WINDOW))
# Seconds that reading a message may take while other calls wait to be read at all.
_PATIENCE = 1.0


class MessageReceiver:
    """The messages that are being received: of calls and of streams, at most `limits.messages` of each at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._calls = asyncio.Semaphore(limits.messages)
        # When the reading of each message began; the oldest first.
        self._reading: dict[asyncio.Timeout, float] = {}
        self._waiting = 0
        self._streams = 0

    async def receive(self, context: grpc.aio.ServicerContext) -> bytes:
        """Return a call's only message. Raises Refusal where it does not come, or not in time."""
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
                Reason.REQUEST_TIMEOUT, f"the message was not received within {seconds:g} s, or held up others"
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
        """Cut the time of the oldest messages that are being read, one for each call that waits."""
        if not self._calls.locked():
            return
        now = asyncio.get_running_loop().time()
        for limit, began in list(self._reading.items())[: self._waiting]:
            end = max(now, began + _PATIENCE)
            if not limit.expired() and (limit.when() or 0.0) > end:
                limit.reschedule(end)

    @contextmanager
    def open_stream(self) -> Iterator[None]:
        """Hold the place of a stream, which reads message after message. Raises Refusal where all places are taken."""
        if self._streams >= self._limits.messages:
            raise Refusal(
                Reason.MEMORY_LIMIT, f"{self._streams} streams are open already, each may send a whole message"
            )
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
