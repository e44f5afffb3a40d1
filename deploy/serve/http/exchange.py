"""An HTTP request as handlers see it, and the response that leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from adroit.deploy.serve.engine.memory import MemoryReservation
from adroit.deploy.serve.http.body import Headers, Receive
from adroit.deploy.serve.http.connection import LimitedConnection
from adroit.deploy.serve.protocol.messages import ErrorMessage
from adroit.deploy.serve.protocol.refusal import Refusal


@dataclass(slots=True)
class Request:
    """One HTTP request.

    Attributes:
        path: the URL's path, decoded and split at its slashes.
        query: the URL's query, still encoded.
        receive: ASGI's way to the body.
        reservation: what the body takes of the server's memory.
        parameters: the values of the names in the route's pattern.
    """

    method: str
    path: tuple[str, ...]
    query: bytes
    headers: Headers
    receive: Receive
    connection: LimitedConnection
    reservation: MemoryReservation
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def authorization(self) -> str:
        """The header of that name; empty where there is none."""
        return self.headers.get(b"authorization", b"").decode("latin-1")

    @property
    def model_and_version(self) -> tuple[str, str]:
        """The names in the URL; an empty version is the one that the server has."""
        return self.parameters["model"], self.parameters.get("version", "")


@dataclass(slots=True)
class Response:
    """What leaves for a request; `kind` is its content type."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/json"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def json_response(message: Any) -> Response:
    """Encode a message of the protocol."""
    return Response(msgspec.json.encode(message))


def error_response(refusal: Refusal) -> Response:
    """Encode a refusal, with the HTTP status of its reason."""
    return Response(msgspec.json.encode(ErrorMessage(refusal.text)), refusal.reason.status)


def encode_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Convert headers to ASGI's form."""
    return [(name.encode(), value.encode()) for name, value in headers.items()]
