"""uvicorn's HTTP connection, held to limits that it has none for.

uvicorn bounds neither how long a new connection may say nothing, nor how long or how large headers may
get, nor how long a client may take for its answer. (Bodies are bounded where they are read,
deploy/serve/http_body.py.)
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deploy.serve.options import Limits

# That an idle connection still has when the server stops.
_LAST_SECONDS = 0.3


def limited_protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """The class that a server with these limits makes for every connection."""

    class LimitedProtocol(HttpToolsProtocol):
        _header_bytes = _fields = 0
        _in_headers = True
        _too_large = False
        _timer: asyncio.TimerHandle | None = None
        _writing: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._timer = self.loop.call_later(limits.receive_seconds, self._time_out)

        def _time_out(self) -> None:
            self._refuse(b"408 Request Timeout")

        def _refuse(self, status: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                self.transport.close()

        def data_received(self, data: bytes) -> None:
            if self._in_headers:
                # Counted before parsing: a body that came with them is in it, so one packet more is allowed.
                self._header_bytes += len(data)
                if self._header_bytes > limits.header_bytes + (256 << 10):
                    return self._refuse(b"431 Request Header Fields Too Large")
            super().data_received(data)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_headers, self._fields = True, 0
            if self._timer is None:  # a further request of this connection
                self._timer = self.loop.call_later(limits.receive_seconds, self._time_out)

        def on_url(self, url: bytes) -> None:
            super().on_url(url)
            self._count(len(url))

        def on_header(self, name: bytes, value: bytes) -> None:
            super().on_header(name, value)
            self._count(len(name) + len(value) + 4)

        def _count(self, size: int) -> None:
            self._fields += size
            if self._fields > limits.header_bytes:
                self._too_large = True
                raise ValueError("headers are too large")  # ends the parsing, by `send_400_response`

        def send_400_response(self, msg: str) -> None:
            if self._too_large:
                return self._refuse(b"431 Request Header Fields Too Large")
            super().send_400_response(msg)

        def on_headers_complete(self) -> None:
            self._stop_timer()
            self._in_headers, self._header_bytes = False, 0
            if not self.transport.is_closing():
                super().on_headers_complete()

        def pause_writing(self) -> None:
            """More of an answer waits than the client takes; closing would wait for it too."""
            super().pause_writing()
            self._writing = self.loop.call_later(limits.receive_seconds, self.transport.abort)

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
            self._stop_timer()
            super().connection_lost(exc)  # resumes writing, too

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return LimitedProtocol
