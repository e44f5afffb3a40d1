"""HTTP bodies, read within limits of size and time, and decompressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from adroit.deploy.serve.engine.inference import WorkerPool
from adroit.deploy.serve.engine.memory import MemoryReservation
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Headers = Mapping[bytes, bytes]
# zlib reads both formats that HTTP has for this; "deflate" is zlib's own.
_ENCODINGS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


class ClientGone(Exception):
    """The end of a connection, so that nobody reads an answer."""


async def read_body(
    receive: Receive,
    complete: bool,
    headers: Headers,
    limits: Limits,
    reservation: MemoryReservation,
    workers: WorkerPool,
) -> bytes | bytearray:
    """Read the whole body, and decompress it.

    Args:
        complete: the body has come already, so that there is nothing to wait for.

    Raises:
        Refusal: a body that is too large (refused before it is read where its length is known), too slow, or
            not compressed as its Content-Encoding says.
        ClientGone: the connection ended before the body did.
    """
    encoding = headers.get(b"content-encoding", b"").strip().lower() or b"identity"
    if encoding != b"identity" and encoding not in _ENCODINGS:
        raise Refusal(Reason.ENCODING, "Content-Encoding must be gzip, deflate or identity")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > limits.body_bytes:
        raise _too_large(limits)
    if complete:
        body = await _all_chunks(receive, limits, reservation)
    else:
        try:
            async with asyncio.timeout(limits.receive_seconds):
                body = await _all_chunks(receive, limits, reservation)
        except TimeoutError:
            raise Refusal(
                Reason.REQUEST_TIMEOUT, f"the body did not come within {limits.receive_seconds:g} s"
            ) from None
    if encoding == b"identity":
        return body
    content: bytes = await workers.run(_inflate, body, _ENCODINGS[encoding], limits)
    reservation.take(len(content))
    return content


async def _all_chunks(receive: Receive, limits: Limits, reservation: MemoryReservation) -> bytes | bytearray:
    first = await _chunk(receive)
    body: bytes | bytearray = first[0]
    reservation.take(len(body))
    more = first[1]
    while more:
        chunk, more = await _chunk(receive)
        if len(body) + len(chunk) > limits.body_bytes:
            raise _too_large(limits)
        reservation.take(len(chunk))
        if isinstance(body, bytes):
            body = bytearray(body)
        body += chunk
    return body


async def _chunk(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def discard(receive: Receive, seconds: float = 1.0, maximum: int = 16 << 20) -> None:
    """Read up to `maximum` bytes of what a refused client still sends: closed at once, it might never read why."""
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more and maximum > 0:
                chunk, more = await _chunk(receive)
                maximum -= len(chunk)
    except (TimeoutError, ClientGone):
        pass


def _too_large(limits: Limits) -> Refusal:
    return Refusal(Reason.TOO_LARGE, f"a body may have {limits.body_bytes} bytes")


def _inflate(body: bytes | bytearray, window: int, limits: Limits) -> bytes:
    """Decompress up to the limit: a few kilobytes can hold gigabytes of zeros."""
    unpacking = zlib.decompressobj(window)
    try:
        content = unpacking.decompress(body, limits.body_bytes + 1)
    except zlib.error:
        raise invalid("the body is not compressed as Content-Encoding says") from None
    if len(content) > limits.body_bytes:
        raise _too_large(limits)
    if not unpacking.eof or unpacking.unused_data:
        raise invalid("the compressed body is cut short, or something follows it")
    return content
