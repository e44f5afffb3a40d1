"""The protocol over HTTP, as an ASGI application: addresses, and how answers and refusals leave."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from deploy.serve.http_body import ClientGone, Headers, Receive, discard, read_body
from deploy.serve.http_inference import read_request, write_response
from deploy.serve.http_page import PageFile, page_files
from deploy.serve.http_predict import describe, predict, read_query
from deploy.serve.messages import (
    ErrorMessage,
    IndexRequest,
    LoadRequest,
    ModelStatisticsList,
    Region,
    RegisterRegion,
    UnloadRequest,
)
from deploy.serve.pending import Lease
from deploy.serve.refusal import Reason, Refusal, invalid
from deploy.serve.service import Service, model_config, model_metadata, server_metadata

logger = logging.getLogger("adroit.serve")
Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
T = TypeVar("T")
_LENGTH = b"inference-header-content-length"
# Shorter answers get no smaller.
_COMPRESS_FROM = 1024


@dataclass
class Response:
    """What leaves. JSON unless `kind` says otherwise."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/json"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class Receiving:
    """ASGI's `receive`, that knows whether the body has ended."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def __call__(self) -> Mapping[str, Any]:
        message = await self._receive()
        self.ended = not message.get("more_body", False)
        return message


@dataclass
class Request:
    """One HTTP request. `lease` holds what its body takes of the server's memory."""

    method: str
    path: tuple[str, ...]
    query: bytes
    headers: Headers
    receive: Receiving
    lease: Lease

    @property
    def authorization(self) -> str:
        return self.headers.get(b"authorization", b"").decode("latin-1")


class HttpApp:
    """ASGI 3 application (HTTP only)."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._page = page_files() if service.options.page else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        with self._service.pending.lease() as lease:
            path = tuple(part for part in scope["path"].split("/") if part)
            headers = dict(scope["headers"])
            request = Request(scope["method"], path, scope["query_string"], headers, Receiving(receive), lease)
            try:
                response = await self._answered(request)
            except ClientGone:
                return
            await self._send(send, request, response)

    async def _answered(self, request: Request) -> Response:
        try:
            return await self._routed(request)
        except Refusal as refusal:
            return _refused(refusal)
        except (ClientGone, asyncio.CancelledError):
            raise
        except Exception:
            logger.exception("a bug of ours")
            return _refused(Refusal(Reason.FAULT, "the server failed; its log tells more"))

    async def _send(self, send: Send, request: Request, response: Response) -> None:
        # What is left of a body that was too large or too slow is not waited for.
        close = self._service.stopping or response.status in (Reason.SLOW.status, Reason.TOO_LARGE.status)
        headers = [
            (b"content-type", response.kind.encode()),
            (b"content-length", str(len(response.body)).encode()),
            *response.headers,
        ]
        headers += [(b"connection", b"close")] if close else []
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": close})
        if close:
            if response.status == Reason.TOO_LARGE.status and not request.receive.ended:
                await discard(request.receive)
            await send({"type": "http.response.body", "body": b""})

    async def _routed(self, request: Request) -> Response:
        match request.path:
            case ("v2", "health", "live"):
                return _health(request, self._service.repository.live)
            case ("v2", "health", "ready"):
                return _health(request, self._service.ready)
        if page := self._page.get(request.path):
            _check_method(request, "GET")
            return _page_file(page)
        if not self._service.allows(request.authorization):
            raise Refusal(Reason.UNAUTHENTICATED, "this server wants a bearer token")
        match request.path:
            case ("v2",):
                _check_method(request, "GET")
                return _json(server_metadata())
            case ("v2", "models", "stats"):
                _check_method(request, "GET")
                stats = [model.statistics.message for model in self._service.repository if model.was_ready]
                return _json(ModelStatisticsList(stats))
            case ("v2", "models", name, "versions", version, *what):
                return await self._model(request, name, version, tuple(what))
            case ("v2", "models", name, *what):
                return await self._model(request, name, "", tuple(what))
            case ("v2", "repository", "index"):
                _check_method(request, "POST")
                asked = await self._message(request, IndexRequest)
                return _json(self._service.repository.index(asked.ready))
            case ("v2", "repository", "models", name, "load" | "unload" as action):
                _check_method(request, "POST")
                return await self._control(request, name, action)
            case ("v2", "systemsharedmemory", *what):
                return await self._shared_memory(request, tuple(what))
        raise Refusal(Reason.NOT_FOUND, "there is nothing at this address")

    async def _model(self, request: Request, name: str, version: str, what: tuple[str, ...]) -> Response:
        repository = self._service.repository
        match what:
            case ("infer",):
                return await self._inference(request, name, version, self._infer)
            case ("predict",) if request.method == "POST":
                return await self._inference(request, name, version, self._predict)
        _check_method(request, "GET")
        match what:
            case ("ready",):
                model = repository.find(name, version)
                return Response() if model.ready else _refused(model.refusal())
            case ():
                return _json(model_metadata(repository.find_loaded(name, version)))
            case ("predict",):
                return _json(describe(repository.find_loaded(name, version)))
            case ("config",):
                return _json(model_config(repository.find_loaded(name, version), self._service.options))
            case ("stats",):
                return _json(ModelStatisticsList([repository.find_loaded(name, version).statistics.message]))
        raise Refusal(Reason.NOT_FOUND, "there is nothing at this address")

    async def _inference(
        self, request: Request, name: str, version: str, answer: Callable[[Request, str, str], Awaitable[Response]]
    ) -> Response:
        """Stops where the client leaves."""
        _check_method(request, "POST")
        with self._service.counted("http") as counted:
            counted.model = self._service.repository.find_loaded(name, version)
            counted.model.queue.check_room()  # before the body is read
            return await answer(request, name, version)

    async def _infer(self, request: Request, name: str, version: str) -> Response:
        service = self._service
        body = await self._body(request)
        header_length = _header_length(request.headers)
        memory, limits = service.shared_memory, service.options.limits
        asked, inference = read_request(body, header_length, request.authorization, memory, limits)
        model = service.repository.find_loaded(name, version)
        answer = await _unless_gone(request.receive, service.infer(model, inference))
        content, json_length = write_response(model.name, model.version, asked, answer, memory)
        response = Response(content)
        if json_length is not None:
            response.kind = "application/octet-stream"
            response.headers.append((_LENGTH, str(json_length).encode()))
        return await self._compressed(request, response)

    async def _predict(self, request: Request, name: str, version: str) -> Response:
        query, body = read_query(request.query), await self._body(request)
        model = self._service.repository.find_loaded(name, version)
        as_map = b"image/png" in request.headers.get(b"accept", b"")
        answer = predict(self._service, model, query, body, as_map, request.authorization)
        told = await _unless_gone(request.receive, answer)
        return Response(told.content, kind=told.kind, headers=_encoded(told.headers))

    async def _body(self, request: Request) -> bytes | bytearray:
        service = self._service
        return await read_body(
            request.receive, request.headers, service.options.limits, request.lease, service.preparer
        )

    async def _message(self, request: Request, kind: type[T]) -> T:
        """A small JSON body; an empty one has every default."""
        body = await self._body(request)
        try:
            return msgspec.json.decode(body or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise invalid(f"not such a request: {error}") from None

    async def _control(self, request: Request, name: str, action: str) -> Response:
        if action == "load":
            await self._message(request, LoadRequest)
            await self._service.repository.load(name)
        else:
            await self._message(request, UnloadRequest)
            await self._service.repository.unload(name)
        return Response()

    async def _shared_memory(self, request: Request, what: tuple[str, ...]) -> Response:
        memory = self._service.shared_memory
        match what:
            case ("status",) | ("region", _, "status"):
                _check_method(request, "GET")
                return _json(memory.status("" if len(what) == 1 else what[1]))
            case ("region", name, "register"):
                _check_method(request, "POST")
                asked = await self._message(request, RegisterRegion)
                memory.register(Region(name, asked.key, asked.offset, asked.byte_size))
                return Response()
            case ("unregister",) | ("region", _, "unregister"):
                _check_method(request, "POST")
                memory.unregister("" if len(what) == 1 else what[1])
                return Response()
        raise Refusal(Reason.NOT_FOUND, "there is nothing at this address")

    async def _compressed(self, request: Request, response: Response) -> Response:
        if b"gzip" not in request.headers.get(b"accept-encoding", b"") or len(response.body) < _COMPRESS_FROM:
            return response
        body = await self._service.preparer.run(lambda: zlib.compress(response.body, level=1, wbits=31))
        return Response(body, response.status, response.kind, [*response.headers, (b"content-encoding", b"gzip")])


async def _unless_gone(receive: Receive, answer: Awaitable[T]) -> T:
    """Waits for `answer`; where the connection ends first, the answer is cancelled. Raises ClientGone then."""
    working = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(receive())  # the body is read: what comes next is the end
    leaving.add_done_callback(lambda _: working.cancel())
    try:
        return await working
    except asyncio.CancelledError:
        if leaving.done() and not leaving.cancelled():
            raise ClientGone from None
        raise
    finally:
        leaving.cancel()


def _header_length(headers: Headers) -> int | None:
    text = headers.get(_LENGTH)
    if text is None:
        return None
    if not text.isdigit() or len(text) > 12:
        raise invalid("Inference-Header-Content-Length must be a number of bytes")
    return int(text)


def _check_method(request: Request, method: str) -> None:
    if request.method != method and (method, request.method) != ("GET", "HEAD"):
        raise Refusal(Reason.METHOD, f"this address takes {method}")


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _page_file(page: PageFile) -> Response:
    return Response(page.content, kind=page.kind, headers=_encoded(page.headers))


def _health(request: Request, good: bool) -> Response:
    _check_method(request, "GET")
    return Response(status=200 if good else 503)


def _json(message: Any) -> Response:
    return Response(msgspec.json.encode(message))


def _refused(refusal: Refusal) -> Response:
    return Response(msgspec.json.encode(ErrorMessage(refusal.text)), refusal.reason.status)
