"""Why a request is not answered with tensors: a closed set, each with its HTTP status and gRPC code."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """HTTP status, name of the gRPC status code, and what tells apart those that share both.

    OVERLOADED: the queue is full. BYTES: the server holds too many of them. SHED: the answer would come too
    late, even at the lowest budget. EXPIRED: it did not come in time.
    """

    INVALID = (400, "INVALID_ARGUMENT")
    UNAUTHENTICATED = (401, "UNAUTHENTICATED")
    FORBIDDEN = (403, "PERMISSION_DENIED")
    NOT_FOUND = (404, "NOT_FOUND")
    METHOD = (405, "UNIMPLEMENTED")
    SLOW = (408, "DEADLINE_EXCEEDED")
    TOO_LARGE = (413, "RESOURCE_EXHAUSTED")
    ENCODING = (415, "INVALID_ARGUMENT")
    FAULT = (500, "INTERNAL")
    OVERLOADED = (503, "RESOURCE_EXHAUSTED", "queue")
    BYTES = (503, "RESOURCE_EXHAUSTED", "bytes")
    SHED = (503, "RESOURCE_EXHAUSTED", "deadline")
    NOT_READY = (503, "UNAVAILABLE")
    EXPIRED = (504, "DEADLINE_EXCEEDED")

    def __init__(self, status: int, code: str, _: str = "") -> None:
        self.status, self.code = status, code


class Refusal(Exception):
    """Ends a request; `text` goes to the client, so it holds nothing that only the operator may see."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


def invalid(text: str) -> Refusal:
    """A request that can never be right as it is."""
    return Refusal(Reason.INVALID, text)
