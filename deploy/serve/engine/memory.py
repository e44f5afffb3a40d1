"""The bytes of requests that the whole server holds: received, waiting or being answered."""

from __future__ import annotations

from adroit.deploy.serve.protocol.refusal import Reason, Refusal


class PendingMemory:
    """A sum of reservations that may not pass `limit` bytes.

    Attributes:
        reserved: the sum now, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.reserved = 0

    def reserve(self) -> MemoryReservation:
        """Return an empty reservation for one request; `with` gives back what it took."""
        return MemoryReservation(self)

    def take(self, size: int) -> None:
        """Add `size` bytes; raises Refusal, with nothing taken, where the sum would pass the limit."""
        if self.reserved + size > self._limit:
            raise Refusal(Reason.MEMORY_LIMIT, "the server holds as many bytes of requests as it may; try again later")
        self.reserved += size


class MemoryReservation:
    """The bytes that one request holds."""

    def __init__(self, pending: PendingMemory) -> None:
        self._pending = pending
        self._taken = 0

    def take(self, size: int) -> None:
        """Add `size` bytes to the request's share; raises Refusal where the server has no room."""
        self._pending.take(size)
        self._taken += size

    def __enter__(self) -> MemoryReservation:
        return self

    def __exit__(self, *_: object) -> None:
        self._pending.reserved -= self._taken
