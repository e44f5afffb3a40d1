"""The protocol over HTTP, as an ASGI application: how requests come in, and answers and refusals leave."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from adroit.deploy.serve.http.body import ClientGone, Receive, discard
from adroit.deploy.serve.http.connection import EXTENSION
from adroit.deploy.serve.http.exchange import Request, Response, refused
from adroit.deploy.serve.http.router import Addresses
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from adroit.deploy.serve.service import Service

logger = logging.getLogger("adroit.serve")
Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class HttpApp:
    """ASGI 3 application (HTTP only) of the connections in deploy/serve/http/connection.py."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._addresses = Addresses(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        with self._service.pending.lease() as lease:
            path = tuple([part for part in scope["path"].split("/") if part])
            headers, connection = dict(scope["headers"]), scope["extensions"][EXTENSION]
            request = Request(scope["method"], path, scope["query_string"], headers, receive, connection, lease)
            try:
                response = await self._answered(request)
            except ClientGone:
                return
            await self._send(send, request, response)

    async def _answered(self, request: Request) -> Response:
        try:
            return await self._addresses.answer(request)
        except Refusal as refusal:
            return refused(refusal)
        except (ClientGone, asyncio.CancelledError):
            raise
        except Exception:
            logger.exception("a bug of ours")
            return refused(Refusal(Reason.FAULT, "the server failed; its log tells more"))

    async def _send(self, send: Send, request: Request, response: Response) -> None:
        # What is left of a body that was too large or too slow is not waited for.
        close = self._service.stopping or response.status in (Reason.SLOW.status, Reason.TOO_LARGE.status)
        headers = [
            (b"content-type", response.kind.encode()),
            (b"content-length", str(len(response.body)).encode()),
            *response.headers,
        ]
        headers += [(b"connection", b"close")] if close else []
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": close})
        if close:
            if response.status == Reason.TOO_LARGE.status and not request.connection.body_complete:
                await discard(request.receive)
            await send({"type": "http.response.body", "body": b""})
