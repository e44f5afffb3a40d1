"""uvicorn's HTTP connection, held to limits that it has none for, and quick where it can be.

uvicorn bounds neither how long a new connection may say nothing, nor how long or how large headers may
get, nor how long a client may take for its answer. (Bodies are bounded where they are read,
deploy/serve/http/body.py.) It has no way either to tell an application that its client left but a second
task a request, and it reads a request before anybody can refuse it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from adroit.deploy.serve.options import Limits

# The connection's key among the ASGI extensions of its requests.
EXTENSION = "adroit.connection"
# That an idle connection still has when the server stops.
_LAST_SECONDS = 0.3

# Of a request's method, address and headers: a whole answer for a connection that is kept, or None to go on.
Early = Callable[[bytes, bytes, Sequence[tuple[bytes, bytes]]], bytes | None]


class _Answered:
    """Stands for the cycle of a request that was answered early: what comes of its body is passed over."""

    response_complete = disconnected = True
    more_body = False
    message_event = asyncio.Event()


class LimitedProtocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        limits, early: of the server; set by `limited_protocol`.
        gone: the client has left.
        on_gone: called when it does.
    """

    limits: Limits
    early: Early | None

    gone = False
    on_gone: Callable[[], object] | None = None
    _header_bytes = 0
    # Of a request that is not answered yet (its body's time is kept by who reads it), or was answered early.
    _receiving = _in_headers = True
    _too_large = False
    _timer: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    @property
    def body_complete(self) -> bool:
        """The whole body of the present request has come."""
        return not self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.limits.receive_seconds, self._time_out)

    def _time_out(self) -> None:
        self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            if not isinstance(self.cycle, _Answered):
                self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def data_received(self, data: bytes | memoryview) -> None:
        if self._in_headers:
            # Counted before parsing: a body that came with them is in it, so one packet more is allowed.
            self._header_bytes += len(data)
            if self._header_bytes > self.limits.header_bytes + (256 << 10):
                return self._refuse(b"431 Request Header Fields Too Large")
        super().data_received(data)  # type: ignore[arg-type]
        if self._in_headers and self._header_bytes > self.limits.header_bytes:  # and no end of them yet
            return self._refuse(b"431 Request Header Fields Too Large")
        if self._receiving and self._timer is None:  # of a further request, that did not come at once
            self._timer = self.loop.call_later(self.limits.receive_seconds, self._time_out)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]
        self._receiving = self._in_headers = True

    def send_400_response(self, msg: str) -> None:
        if self._too_large:
            return self._refuse(b"431 Request Header Fields Too Large")
        super().send_400_response(msg)

    def on_headers_complete(self) -> None:
        self._in_headers, self._header_bytes = False, 0
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        if size > self.limits.header_bytes:
            self._too_large = True
            raise ValueError("headers are too large")  # ends the parsing, by `send_400_response`
        if not self.transport.is_closing() and self._answered_early():
            return
        self._received()
        if not self.transport.is_closing():
            super().on_headers_complete()

    def _answered_early(self) -> bool:
        """Of a plain request on a free connection alone. Its body is read and dropped, in the time it has."""
        idle = self.cycle is None or self.cycle.response_complete
        if self.early is None or not idle or self.expect_100_continue or not self.parser.should_keep_alive():
            return False
        answer = self.early(self.parser.get_method(), self.url, self.headers)
        if answer is None:
            return False
        self.transport.write(answer)
        self.cycle = _Answered()  # type: ignore[assignment]
        self.server_state.total_requests += 1
        return True

    def on_body(self, body: bytes) -> None:
        """A body that comes in one piece is handed on as it is, not copied twice."""
        cycle = self.cycle
        if not cycle.response_complete:
            if not cycle.body:
                cycle.body, body = body, b""  # type: ignore[assignment]
            elif isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:  # before the body had come: the connection is idle only now
            self._received()
            self._unset_keepalive_if_required()
            if not self.transport.is_closing():
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

    def pause_writing(self) -> None:
        """More of an answer waits than the client takes; closing would wait for it too."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.limits.receive_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()

    def shutdown(self) -> None:
        """An idle connection is closed a moment later: a request may be on its way already."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._received()
        super().connection_lost(exc)  # resumes writing, too
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()

    def _received(self) -> None:
        """The client has sent what it has so many seconds for."""
        self._receiving = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Reading(asyncio.BufferedProtocol):
    """Reads for a connection; what comes is handed on at once, so that one buffer does for all.

    Without it the event loop makes an object of every piece that comes, which is a copy of every body.
    """

    _buffer = memoryview(bytearray(256 << 10))

    def __init__(self, connection: LimitedProtocol) -> None:
        self._connection = connection
        self.connection_made = connection.connection_made  # type: ignore[method-assign, assignment]
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]
        self.eof_received = connection.eof_received  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.data_received(self._buffer[:nbytes])


def limited_protocol(limits: Limits, early: Early | None = None) -> Callable[..., asyncio.BufferedProtocol]:
    """What a server with these limits makes for every connection."""
    kept = None if early is None else staticmethod(early)
    kind = type("Connection", (LimitedProtocol,), {"limits": limits, "early": kept})
    return lambda **parts: _Reading(kind(**parts))
