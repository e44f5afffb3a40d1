"""What an HTTP request is to this server, and what leaves for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from adroit.deploy.serve.engine.memory import Lease
from adroit.deploy.serve.http.body import Headers, Receive
from adroit.deploy.serve.http.connection import LimitedProtocol
from adroit.deploy.serve.protocol.messages import ErrorMessage
from adroit.deploy.serve.protocol.refusal import Reason, Refusal


@dataclass(slots=True)
class Request:
    """One HTTP request. `lease` holds what its body takes of the server's memory."""

    method: str
    path: tuple[str, ...]
    query: bytes
    headers: Headers
    receive: Receive
    connection: LimitedProtocol
    lease: Lease

    @property
    def authorization(self) -> str:
        return self.headers.get(b"authorization", b"").decode("latin-1")

    def check_method(self, method: str) -> None:
        """Raises Refusal for another one; HEAD is a GET whose body stays here."""
        if self.method != method and (method, self.method) != ("GET", "HEAD"):
            raise Refusal(Reason.METHOD, f"this address takes {method}")


@dataclass(slots=True)
class Response:
    """What leaves. JSON unless `kind` says otherwise."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/json"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def json_response(message: Any) -> Response:
    return Response(msgspec.json.encode(message))


def refused(refusal: Refusal) -> Response:
    return Response(msgspec.json.encode(ErrorMessage(refusal.text)), refusal.reason.status)


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
