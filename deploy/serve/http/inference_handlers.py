"""Handlers of inference, from a request's body to its response. They stop where the client leaves."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable
from typing import TypeVar

from adroit.deploy.serve.http import predict as prediction
from adroit.deploy.serve.http.body import ClientGone, Headers, read_body
from adroit.deploy.serve.http.codec import read_request, write_response
from adroit.deploy.serve.http.connection import LimitedConnection
from adroit.deploy.serve.http.exchange import Request, Response, encode_headers
from adroit.deploy.serve.http.negotiation import gzip_is_wanted
from adroit.deploy.serve.protocol.refusal import invalid
from adroit.deploy.serve.service import Service

T = TypeVar("T")
_LENGTH = b"inference-header-content-length"
# Shorter answers get no smaller.
_COMPRESS_FROM = 1024


async def infer(service: Service, request: Request) -> Response:
    """Run a model on the tensors of the body. Raises Refusal, ClientGone."""
    with service.track("http") as tracked:
        tracked.model = model = service.repository.find_loaded(*request.model_and_version)
        model.queue.check_room()  # before the body is read
        body = await read_request_body(service, request)
        header_length = _header_length(request.headers)
        memory, limits = service.shared_memory, service.options.limits
        message, inference = read_request(body, header_length, request.authorization, memory, limits)
        model = service.repository.find_loaded(*request.model_and_version)  # it may have been loaded again meanwhile
        result = await _unless_gone(request.connection, service.infer(model, inference))
        content, json_length = write_response(model.name, model.version, message, result, memory)
        response = Response(content)
        if json_length is not None:
            response.kind = "application/octet-stream"
            response.headers.append((_LENGTH, str(json_length).encode()))
        if len(content) >= _COMPRESS_FROM and gzip_is_wanted(request.headers.get(b"accept-encoding", b"")):
            await _compress(service, response)
        return response


async def predict(service: Service, request: Request) -> Response:
    """Run a model on the encoded image of the body. Raises Refusal, ClientGone."""
    with service.track("http") as tracked:
        tracked.model = service.repository.find_loaded(*request.model_and_version)
        tracked.model.queue.check_room()
        query, body = prediction.read_query(request.query), await read_request_body(service, request)
        model = service.repository.find_loaded(*request.model_and_version)
        as_map = prediction.wants_map(model, request.headers.get(b"accept", b""))
        answer = prediction.predict(service, model, query, body, as_map, request.authorization)
        encoded = await _unless_gone(request.connection, answer)
        return Response(encoded.content, kind=encoded.kind, headers=encode_headers(encoded.headers))


async def read_request_body(service: Service, request: Request) -> bytes | bytearray:
    """Read the request's whole body. Raises Refusal, ClientGone."""
    return await read_body(
        request.receive,
        request.connection.body_complete,
        request.headers,
        service.options.limits,
        request.reservation,
        service.workers,
    )


async def _unless_gone(connection: LimitedConnection, answer: Awaitable[T]) -> T:
    """Wait for `answer`; where the connection ends first, cancel it and raise ClientGone."""
    task = asyncio.current_task()
    assert task is not None
    connection.on_gone = task.cancel
    try:
        return await answer
    except asyncio.CancelledError:
        if connection.gone:
            raise ClientGone from None
        raise
    finally:
        connection.on_gone = None


async def _compress(service: Service, response: Response) -> None:
    response.body = await service.workers.run(lambda: zlib.compress(response.body, level=1, wbits=31))
    response.headers.append((b"content-encoding", b"gzip"))


def _header_length(headers: Headers) -> int | None:
    text = headers.get(_LENGTH)
    if text is None:
        return None
    if not text.isdigit() or len(text) > 12:
        raise invalid("Inference-Header-Content-Length must be a number of bytes")
    return int(text)
