"""Start and graceful stop: listeners first, then models; a signal to stop loses no accepted request.

At SIGTERM or SIGINT the server is no longer ready, ends every HTTP connection with its next answer, and
refuses new gRPC inferences as UNAVAILABLE; after a moment for clients to hear of it, the listeners close,
and what was accepted is answered, for at most `drain_seconds`. Idle connections hold up nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import uvicorn
from prometheus_client import make_asgi_app

from adroit.deploy.serve.grpc.receiving import CHANNEL_OPTIONS
from adroit.deploy.serve.grpc.servicer import rpc_handlers
from adroit.deploy.serve.http.application import HttpApplication
from adroit.deploy.serve.http.connection import EarlyAnswer, connection_factory
from adroit.deploy.serve.http.early import EarlyRefusal
from adroit.deploy.serve.options import ServeOptions
from adroit.deploy.serve.service import Service
from adroit.deploy.serve.tls import check_tls
from adroit.errors import UsageError

logger = logging.getLogger("adroit.serve")
# For clients to learn that connections end, before they do.
_NOTICE_SECONDS = 0.3
# For runtimes to free what they hold.
_CLOSE_SECONDS = 2.0


@dataclass(frozen=True)
class Addresses:
    """Where the server listens: "host:port", "[host]:port" with IPv6, or None for a listener that is left out."""

    http: str | None
    grpc: str | None
    metrics: str | None


class _HttpServer(uvicorn.Server):
    """uvicorn's server, without its own handling of signals (`serve` has it for all transports).

    At its end it takes in the connections that still wait in the kernel's queue.
    """

    def __init__(self, config: uvicorn.Config, listening: socket.socket) -> None:
        super().__init__(config)
        # Keeps the kernel's queue of connections when uvicorn closes its own handle.
        self._listening = listening.dup()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, take in what waits, and wait for connections to end."""
        for server in self.servers:
            server.close()
        waiting = []
        with self._listening, contextlib.suppress(BlockingIOError):
            self._listening.setblocking(False)
            while True:
                waiting.append(self._listening.accept()[0])
        loop = asyncio.get_running_loop()
        for connection in waiting:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.BufferedProtocol:
        kind: Any = self.config.http_protocol_class
        protocol: asyncio.BufferedProtocol = kind(config=self.config, server_state=self.server_state, app_state={})
        return protocol


async def serve(options: ServeOptions, started: Callable[[Addresses], None]) -> None:
    """Serve until a signal to stop.

    Args:
        started: called once the listeners are open, before models are loaded.

    Raises:
        UsageError: an empty repository, an address where the server cannot listen, or as check_tls.
    """
    check_tls(options.security)
    service = Service(options)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    http, metrics = _socket(options, options.http_port), _socket(options, options.metrics_port)
    web: list[tuple[_HttpServer, asyncio.Task[None]]] = []
    if http is not None:
        web.append(await _start_http(HttpApplication(service), http, options, EarlyRefusal(service), encrypted=True))
    if metrics is not None:
        web.append(await _start_http(make_asgi_app(service.metrics.registry), metrics, options))
    calls, grpc_address = await _start_grpc(service)
    started(Addresses(_address(http), grpc_address, _address(metrics)))

    loading = asyncio.create_task(service.repository.load_all())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *(task for _, task in web)], return_when=asyncio.FIRST_COMPLETED)
    logger.info("stopping")
    service.stopping = True
    await asyncio.sleep(_NOTICE_SECONDS)
    loading.cancel()
    await _drain(web, calls, options.limits.drain_seconds)
    await asyncio.gather(loading, return_exceptions=True)
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await service.close()
    except TimeoutError:
        logger.critical("a runtime did not stop")
        os._exit(1)  # it would hold up the interpreter's end forever
    logger.info("stopped")


async def _drain(
    web: list[tuple[_HttpServer, asyncio.Task[None]]], calls: grpc.aio.Server | None, seconds: float
) -> None:
    for server, _ in web:
        server.should_exit = True
    waits = [task for _, task in web]
    if calls is not None:
        waits.append(asyncio.create_task(calls.stop(seconds)))
    await asyncio.gather(*waits)


def _socket(options: ServeOptions, port: int | None) -> socket.socket | None:
    """Bind a socket: here, so that a port in use is an error of ours, and port 0 becomes known."""
    if port is None:
        return None
    try:
        family, _, _, _, place = socket.getaddrinfo(options.address, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
    except OSError as error:
        raise _cannot_listen(options, port, error) from error
    return listening


def _cannot_listen(options: ServeOptions, port: int, error: OSError | RuntimeError) -> UsageError:
    hint = "give another port (0 is any free one), or stop what listens there"
    if isinstance(error, socket.gaierror) or getattr(error, "errno", None) in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        hint = "give --host an address of this machine: 127.0.0.1 or ::1 for itself alone, 0.0.0.0 or :: for all"
    elif isinstance(error, PermissionError):
        hint = "give a port of 1024 or above, which needs no rights"
    reason = getattr(error, "strerror", None) or error
    return UsageError(f"cannot listen at {join_address(options.address, port)}", facts={"reason": reason}, hint=hint)


def join_address(host: str, port: int) -> str:
    """Return "host:port"; an address of IPv6 stands in brackets, as in URLs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(listening: socket.socket | None) -> str | None:
    return None if listening is None else join_address(*listening.getsockname()[:2])


async def _start_http(
    app: Any, listening: socket.socket, options: ServeOptions, early: EarlyAnswer | None = None, encrypted: bool = False
) -> tuple[_HttpServer, asyncio.Task[None]]:
    limits, security = options.limits, options.security
    config = uvicorn.Config(
        app,
        http=connection_factory(limits, early),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=round(limits.idle_seconds),
        timeout_graceful_shutdown=round(limits.drain_seconds),
        ssl_certfile=security.certificate if encrypted else None,
        ssl_keyfile=security.key if encrypted else None,
    )
    server = _HttpServer(config, listening)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not task.done():
        await asyncio.sleep(0.005)
    return server, task


async def _start_grpc(service: Service) -> tuple[grpc.aio.Server | None, str | None]:
    options, limits = service.options, service.options.limits
    if options.grpc_port is None:
        return None, None
    server = grpc.aio.server(
        handlers=rpc_handlers(service),
        maximum_concurrent_rpcs=limits.calls,
        options=[
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", limits.header_bytes),
            *CHANNEL_OPTIONS,
            ("grpc.so_reuseport", 0),  # else a second server would share the port in silence
        ],
    )
    address = join_address(options.address, options.grpc_port)
    if options.grpc_port and (probe := _socket(options, options.grpc_port)):
        probe.close()  # gRPC reports a port in use in words of its own, on standard error
    try:
        credentials = _credentials(options)
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:
        raise _cannot_listen(options, options.grpc_port, error) from error
    await server.start()
    return server, join_address(options.address, port)


def _credentials(options: ServeOptions) -> grpc.ServerCredentials | None:
    security = options.security
    if security.certificate is None or security.key is None:
        return None
    return grpc.ssl_server_credentials([(security.key.read_bytes(), security.certificate.read_bytes())])
