"""Requests for inference over HTTP, from their bodies to their answers. They stop where the client leaves."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable
from typing import TypeVar

from adroit.deploy.serve.http import predict as predict_request
from adroit.deploy.serve.http.body import ClientGone, Headers, read_body
from adroit.deploy.serve.http.connection import LimitedProtocol
from adroit.deploy.serve.http.exchange import Request, Response, encoded
from adroit.deploy.serve.http.inference import read_request, write_response
from adroit.deploy.serve.protocol.refusal import invalid
from adroit.deploy.serve.service import Service

T = TypeVar("T")
_LENGTH = b"inference-header-content-length"
# Shorter answers get no smaller.
_COMPRESS_FROM = 1024


async def infer(service: Service, request: Request, name: str, version: str) -> Response:
    """Of tensors. Raises Refusal, ClientGone."""
    with service.counted("http") as counted:
        counted.model = model = service.repository.find_loaded(name, version)
        model.queue.check_room()  # before the body is read
        body = await read_whole(service, request)
        header_length = _header_length(request.headers)
        memory, limits = service.shared_memory, service.options.limits
        asked, inference = read_request(body, header_length, request.authorization, memory, limits)
        model = service.repository.find_loaded(name, version)  # it may have been loaded again meanwhile
        answer = await _unless_gone(request.connection, service.infer(model, inference))
        content, json_length = write_response(model.name, model.version, asked, answer, memory)
        response = Response(content)
        if json_length is not None:
            response.kind = "application/octet-stream"
            response.headers.append((_LENGTH, str(json_length).encode()))
        if b"gzip" in request.headers.get(b"accept-encoding", b"") and len(content) >= _COMPRESS_FROM:
            await _compress(service, response)
        return response


async def predict(service: Service, request: Request, name: str, version: str) -> Response:
    """Of an encoded image. Raises Refusal, ClientGone."""
    with service.counted("http") as counted:
        counted.model = service.repository.find_loaded(name, version)
        counted.model.queue.check_room()
        query, body = predict_request.read_query(request.query), await read_whole(service, request)
        model = service.repository.find_loaded(name, version)
        as_map = b"image/png" in request.headers.get(b"accept", b"")
        answer = predict_request.predict(service, model, query, body, as_map, request.authorization)
        told = await _unless_gone(request.connection, answer)
        return Response(told.content, kind=told.kind, headers=encoded(told.headers))


async def read_whole(service: Service, request: Request) -> bytes | bytearray:
    """The request's body. Raises Refusal, ClientGone."""
    return await read_body(
        request.receive,
        request.connection.body_complete,
        request.headers,
        service.options.limits,
        request.lease,
        service.preparer,
    )


async def _unless_gone(connection: LimitedProtocol, answer: Awaitable[T]) -> T:
    """Waits for `answer`; where the connection ends first, the answer is cancelled. Raises ClientGone then."""
    working = asyncio.current_task()
    assert working is not None
    connection.on_gone = working.cancel
    try:
        return await answer
    except asyncio.CancelledError:
        if connection.gone:
            raise ClientGone from None
        raise
    finally:
        connection.on_gone = None


async def _compress(service: Service, response: Response) -> None:
    response.body = await service.preparer.run(lambda: zlib.compress(response.body, level=1, wbits=31))
    response.headers.append((b"content-encoding", b"gzip"))


def _header_length(headers: Headers) -> int | None:
    text = headers.get(_LENGTH)
    if text is None:
        return None
    if not text.isdigit() or len(text) > 12:
        raise invalid("Inference-Header-Content-Length must be a number of bytes")
    return int(text)
