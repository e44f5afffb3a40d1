"""How many bytes of requests the whole server holds: received, waiting or being answered."""

from __future__ import annotations

from adroit.deploy.serve.protocol.refusal import Reason, Refusal


class PendingBytes:
    """A sum that may not pass `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def lease(self) -> Lease:
        """For one request; `with` gives back what it took."""
        return Lease(self)

    def take(self, size: int) -> None:
        """Raises Refusal, with nothing taken, where it would be too much."""
        if self.held + size > self._most:
            raise Refusal(Reason.BYTES, "the server holds as many bytes of requests as it may; try again later")
        self.held += size


class Lease:
    """What one request holds."""

    def __init__(self, pending: PendingBytes) -> None:
        self._pending = pending
        self._taken = 0

    def take(self, size: int) -> None:
        self._pending.take(size)
        self._taken += size

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self._pending.held -= self._taken
