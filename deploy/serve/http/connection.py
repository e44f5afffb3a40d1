"""uvicorn's HTTP connection, with further limits, and with an answer at the headers where that is enough.

uvicorn bounds neither how long a new connection may say nothing, nor how long or how large headers may
get, nor how long a client may take for its answer. (Bodies are bounded where they are read,
deploy/serve/http/body.py.) An application learns that its client left only by a second
task for each request, and nobody can refuse a request before it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from adroit.deploy.serve.options import Limits
from adroit.errors import EnvironmentFault

NEWEST_TRIED = "0.54.0"
# The connection's key among the ASGI extensions of its requests.
EXTENSION = "adroit.connection"
# Seconds that an idle connection stays open when the server stops.
_LAST_SECONDS = 0.3

# From a request's method, URL and headers to a whole response that keeps the connection, or None to go on.
EarlyAnswer = Callable[[bytes, bytes, Sequence[tuple[bytes, bytes]]], bytes | None]


# What is extended here, by where it is defined; uvicorn promises none of it to others.
_METHODS = (
    "connection_made", "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing",
    "on_message_begin", "on_headers_complete", "on_body", "on_message_complete", "send_400_response", "shutdown",
    "timeout_keep_alive_handler", "_unset_keepalive_if_required",
)  # fmt: skip
_OF_CONNECTION = (
    "cycle", "expect_100_continue", "headers", "loop", "parser", "scope", "server_state", "timeout_keep_alive",
    "timeout_keep_alive_task", "transport",
)  # fmt: skip
_OF_CYCLE = ("body", "disconnected", "message_event", "more_body", "response_complete")


def check_uvicorn(connection: type = HttpToolsProtocol, cycle: type = RequestResponseCycle) -> None:
    """Check that uvicorn's classes have what is extended here.

    Raises:
        EnvironmentFault: another version of uvicorn, which has not.
    """
    missing = [name for name in _METHODS if not hasattr(connection, name)]
    for kind, names in ((connection, _OF_CONNECTION), (cycle, _OF_CYCLE)):
        assigned = kind.__init__.__code__.co_names  # type: ignore[misc]
        missing += [name for name in names if name not in assigned]
    if missing:
        raise EnvironmentFault(
            f"adroit serve cannot use uvicorn {uvicorn.__version__}",
            facts={"it lacks": ", ".join(missing)},
            hint=f"pip install 'uvicorn<={NEWEST_TRIED}', the newest version that was tried",
        )


class _Answered:
    """The stand-in for uvicorn's cycle of a request that was answered early: its body is dropped."""

    response_complete = disconnected = True
    more_body = False
    message_event = asyncio.Event()


class LimitedConnection(HttpToolsProtocol):
    """One HTTP connection.

    Attributes:
        limits, early: the server's; set by `connection_factory`.
        gone: the client has left.
        on_gone: called when the client leaves.
    """

    limits: Limits
    early: EarlyAnswer | None

    gone = False
    on_gone: Callable[[], object] | None = None
    _header_bytes = 0
    # A request is being received that is not answered yet, or was answered early. Who reads a body keeps its time.
    _receiving = _in_headers = True
    _too_large = False
    _timer: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    @property
    def body_complete(self) -> bool:
        """True where the whole body of the present request has come."""
        return not self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time in which the first request must come."""
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
        """Parse what came; refuse headers that are too long."""
        if self._in_headers:
            # Counted before parsing: a body that came with them is in it, so one packet more is allowed.
            self._header_bytes += len(data)
            if self._header_bytes > self.limits.header_bytes + (256 << 10):
                return self._refuse(b"431 Request Header Fields Too Large")
        super().data_received(data)  # type: ignore[arg-type]
        if self._in_headers and self._header_bytes > self.limits.header_bytes:  # and no end of them yet
            return self._refuse(b"431 Request Header Fields Too Large")
        if self._receiving and self._timer is None:  # the start of a further request
            self._timer = self.loop.call_later(self.limits.receive_seconds, self._time_out)

    def on_message_begin(self) -> None:
        """Take note of a request's first bytes."""
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]
        self._receiving = self._in_headers = True

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed: 431 for long headers, else 400."""
        if self._too_large:
            return self._refuse(b"431 Request Header Fields Too Large")
        super().send_400_response(msg)

    def on_headers_complete(self) -> None:
        """Check the headers' size; answer early, or start the application."""
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
        """Answer a plain request on a free connection early, if it can be; its body is read in time and dropped."""
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
        """Hand on a body that comes in one piece as it is, instead of copying it twice."""
        cycle = self.cycle
        if not cycle.response_complete:
            if not cycle.body:
                cycle.body, body = body, b""  # type: ignore[assignment]
            elif isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note of a request's end."""
        super().on_message_complete()
        if self.cycle.response_complete:  # before the body had come: the connection is idle only now
            self._received()
            self._unset_keepalive_if_required()
            if not self.transport.is_closing():
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

    def pause_writing(self) -> None:
        """Limit the time in which the client must take what waits of its answer; closing would wait for it too."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.limits.receive_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Drop that limit: the client took its answer."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()

    def shutdown(self) -> None:
        """Close an idle connection a moment later: a request may be on its way already."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what is done for a client that left."""
        self._received()
        super().connection_lost(exc)  # resumes writing, too
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()

    def _received(self) -> None:
        """Stop the clock of a request that has come."""
        self._receiving = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Reading(asyncio.BufferedProtocol):
    """The reading side of a connection. What comes is handed on at once, so one buffer serves all connections.

    Without it the event loop makes an object of every piece that comes, which is a copy of every body.
    """

    _buffer = memoryview(bytearray(256 << 10))

    def __init__(self, connection: LimitedConnection) -> None:
        self._connection = connection
        self.connection_made = connection.connection_made  # type: ignore[method-assign, assignment]
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]
        self.eof_received = connection.eof_received  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the shared buffer."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what came."""
        self._connection.data_received(self._buffer[:nbytes])


def connection_factory(limits: Limits, early: EarlyAnswer | None = None) -> Callable[..., asyncio.BufferedProtocol]:
    """Return what builds each connection of a server with these limits. Raises EnvironmentFault as check_uvicorn."""
    check_uvicorn()
    method = None if early is None else staticmethod(early)
    kind = type("Connection", (LimitedConnection,), {"limits": limits, "early": method})
    return lambda **arguments: _Reading(kind(**arguments))
