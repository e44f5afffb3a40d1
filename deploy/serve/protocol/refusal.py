"""The reasons why a request gets no tensors: a closed set, each with its HTTP status and gRPC code."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """A reason with its HTTP status and gRPC status code; a third value tells apart reasons that share both.

    OVERLOADED: the queue is full. MEMORY_LIMIT: the server holds as many bytes as it may. SHED: the answer would
    come too late, even at the lowest budget. EXPIRED: the request's turn did not come in time. The names are
    values of the label `end` in the metric `adroit_requests_total`.
    """

    INVALID = (400, "INVALID_ARGUMENT")
    UNAUTHENTICATED = (401, "UNAUTHENTICATED")
    FORBIDDEN = (403, "PERMISSION_DENIED")
    NOT_FOUND = (404, "NOT_FOUND")
    METHOD_NOT_ALLOWED = (405, "UNIMPLEMENTED")
    REQUEST_TIMEOUT = (408, "DEADLINE_EXCEEDED")
    TOO_LARGE = (413, "RESOURCE_EXHAUSTED")
    ENCODING = (415, "INVALID_ARGUMENT")
    FAULT = (500, "INTERNAL")
    OVERLOADED = (503, "RESOURCE_EXHAUSTED", "queue")
    MEMORY_LIMIT = (503, "RESOURCE_EXHAUSTED", "memory")
    SHED = (503, "RESOURCE_EXHAUSTED", "deadline")
    NOT_READY = (503, "UNAVAILABLE")
    EXPIRED = (504, "DEADLINE_EXCEEDED")

    def __init__(self, status: int, code: str, _: str = "") -> None:
        self.status, self.code = status, code


class Refusal(Exception):
    """The end of a request without tensors; `text` goes to the client, so it holds nothing for the operator alone."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


def invalid(text: str) -> Refusal:
    """Return the refusal of a request that can never be right as it is."""
    return Refusal(Reason.INVALID, text)
