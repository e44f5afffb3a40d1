"""The cheapest refusal: of a request for a model whose queue is full, at its headers.

Under overload most requests end here, and what each of them costs is taken from those that are answered. So
there is no task for it and its body is not kept; the answer is one that was written before.
"""

from __future__ import annotations

from collections.abc import Sequence

from adroit.deploy.serve.engine.served_model import ServedModel
from adroit.deploy.serve.http.exchange import refused
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from adroit.deploy.serve.service import Service


class EarlyRefusal:
    """`Early` of a server (deploy/serve/http/connection.py)."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._answers: dict[str, bytes] = {}

    def __call__(self, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        """None for everything but a request for inference that would be told that the queue is full."""
        if method != b"POST" or self._service.stopping:
            return None
        model = self._asked(url)
        refusal = None if model is None else model.queue.full()
        if model is None or refusal is None:
            return None
        authorization = next((value for name, value in headers if name == b"authorization"), b"")
        if not self._service.allows(authorization.decode("latin-1")):
            return None
        self._service.metrics.ended(model.name, "http", refusal.reason.name, 0.0)
        model.statistics.failed(0)
        if refusal.text not in self._answers:
            self._answers[refusal.text] = _whole(refusal)
        return self._answers[refusal.text]

    def _asked(self, url: bytes) -> ServedModel | None:
        """The model of /v2/models/NAME[/versions/VERSION]/(infer|predict)."""
        parts = url.partition(b"?")[0].split(b"/")
        if len(parts) not in (5, 7) or parts[-1] not in (b"infer", b"predict") or parts[1:3] != [b"v2", b"models"]:
            return None
        version = parts[5].decode("latin-1") if len(parts) == 7 else ""
        try:
            return self._service.repository.find_loaded(parts[3].decode("latin-1"), version)
        except Refusal:
            return None


def _whole(refusal: Refusal) -> bytes:
    response = refused(refusal)
    assert refusal.reason is Reason.OVERLOADED
    head = (
        f"HTTP/1.1 {response.status} Service Unavailable\r\ncontent-type: {response.kind}\r\n"
        f"content-length: {len(response.body)}\r\n\r\n"
    )
    return head.encode() + response.body
