"""The cheapest refusal: of a request for a model whose queue is full, at its headers.

Under overload most requests end here, and what each of them costs is taken from those that are answered. So
no task is started and no body is stored; the answer is a text that was encoded before.
"""

from __future__ import annotations

from collections.abc import Sequence

from adroit.deploy.serve.engine.model import Model
from adroit.deploy.serve.http.exchange import error_response
from adroit.deploy.serve.http.router import find_route, path_segments
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from adroit.deploy.serve.service import Service


class EarlyRefusal:
    """The `EarlyAnswer` of a server (deploy/serve/http/connection.py)."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._encoded: dict[str, bytes] = {}

    def __call__(self, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        """Return the refusal of a request for inference whose queue is full; None for every other request."""
        if method != b"POST" or self._service.stopping:
            return None
        model = self._queued_model(url)
        refusal = None if model is None else model.queue.full()
        if model is None or refusal is None:
            return None
        authorization = next((value for name, value in headers if name == b"authorization"), b"")
        if not self._service.allows(authorization.decode("latin-1")):
            return None
        self._service.metrics.ended(model.name, "http", refusal.reason.name, 0.0)
        model.statistics.failed(0)
        if refusal.text not in self._encoded:
            self._encoded[refusal.text] = _whole_response(refusal)
        return self._encoded[refusal.text]

    def _queued_model(self, url: bytes) -> Model | None:
        """Return the model in whose queue a POST to `url` would wait, if any."""
        match = find_route("POST", path_segments(url.partition(b"?")[0].decode("latin-1")))
        if isinstance(match, Refusal) or not match.route.queued:
            return None
        try:
            return self._service.repository.find_loaded(match.parameters["model"], match.parameters.get("version", ""))
        except Refusal:
            return None


def _whole_response(refusal: Refusal) -> bytes:
    response = error_response(refusal)
    assert refusal.reason is Reason.OVERLOADED
    head = (
        f"HTTP/1.1 {response.status} Service Unavailable\r\ncontent-type: {response.kind}\r\n"
        f"content-length: {len(response.body)}\r\n\r\n"
    )
    return head.encode() + response.body
