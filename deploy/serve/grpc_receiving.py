"""How much of gRPC's messages may be on its way into memory.

gRPC hands over whole messages and does not tell how large one will be, so that each counts as the largest
while it is read. A call whose message is not read yet holds no more than its window of HTTP/2 (`WINDOW`); so
calls are handled as streams of one message, which is the same on the wire, and read a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from deploy.serve.options import Limits
from deploy.serve.refusal import Reason, Refusal, invalid

# What gRPC must be told for this. By itself it raises windows to megabytes; that of a call that is read grows to
# its message anyway.
WINDOW = 256 << 10
CHANNEL_OPTIONS = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", WINDOW))


class Receiving:
    """The messages that are being received: of calls, and of streams, each at most `limits.messages` at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._calls = asyncio.Semaphore(limits.messages)
        self._streams = 0

    async def message(self, context: grpc.aio.ServicerContext) -> bytes:
        """A call's only one. Raises Refusal where it does not come, or not in time."""
        seconds = self._limits.receive_seconds
        try:
            async with asyncio.timeout(seconds), self._calls:
                content = await context.read()
        except TimeoutError:
            raise Refusal(Reason.SLOW, f"the message was not received within {seconds:g} s") from None
        if not isinstance(content, bytes):
            raise invalid("the call has no message")
        return content

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
