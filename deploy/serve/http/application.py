"""The ASGI application: from a connection's request to the router, and from its response to the connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from adroit.deploy.serve.http.body import ClientGone, Receive, discard
from adroit.deploy.serve.http.connection import EXTENSION
from adroit.deploy.serve.http.exchange import Request, Response, error_response
from adroit.deploy.serve.http.router import Router, path_segments
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from adroit.deploy.serve.service import Service

logger = logging.getLogger("adroit.serve")
Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by name; several of one name are one list, as RFC 9110 says (section 5.3)."""
    named: dict[bytes, bytes] = {}
    for name, value in headers:
        named[name] = named[name] + b", " + value if name in named else value
    return named


class HttpApplication:
    """ASGI 3 application (HTTP only) of the connections in deploy/serve/http/connection.py."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._router = Router(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, unless its client leaves."""
        if scope["type"] != "http":
            return
        with self._service.pending.reserve() as reservation:
            path, headers = path_segments(scope["path"]), _by_name(scope["headers"])
            connection = scope["extensions"][EXTENSION]
            request = Request(scope["method"], path, scope["query_string"], headers, receive, connection, reservation)
            try:
                response = await self._answer(request)
            except ClientGone:
                return
            await self._send(send, request, response)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._router.answer(request)
        except Refusal as refusal:
            return error_response(refusal)
        except (ClientGone, asyncio.CancelledError):
            raise
        except Exception:
            logger.exception("a bug of ours")
            return error_response(Refusal(Reason.FAULT, "the server failed; the reason is in its log"))

    async def _send(self, send: Send, request: Request, response: Response) -> None:
        # What is left of a body that was too large or too slow is not waited for.
        too_large = response.status == Reason.TOO_LARGE.status
        close = self._service.stopping or too_large or response.status == Reason.REQUEST_TIMEOUT.status
        headers = [
            (b"content-type", response.kind.encode()),
            (b"content-length", str(len(response.body)).encode()),
            *response.headers,
        ]
        headers += [(b"connection", b"close")] if close else []
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": close})
        if close:
            if too_large and not request.connection.body_complete:
                await discard(request.receive)
            await send({"type": "http.response.body", "body": b""})
