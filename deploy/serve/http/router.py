"""What is at which address of the HTTP server."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from adroit.deploy.serve.http.exchange import Request, Response, encoded, json_response, refused
from adroit.deploy.serve.http.handlers import infer, predict, read_whole
from adroit.deploy.serve.http.page_files import PageFile, page_files
from adroit.deploy.serve.http.predict import describe
from adroit.deploy.serve.protocol.messages import (
    IndexRequest,
    LoadRequest,
    ModelStatisticsList,
    Region,
    RegisterRegion,
    UnloadRequest,
)
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.deploy.serve.service import Service, model_config, model_metadata, server_metadata

T = TypeVar("T")


class Addresses:
    """All of one server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._page = page_files() if service.options.page else {}

    async def answer(self, request: Request) -> Response:
        """Raises Refusal, ClientGone."""
        match request.path:
            case ("v2", "health", "live"):
                return _health(request, self._service.repository.live)
            case ("v2", "health", "ready"):
                return _health(request, self._service.ready)
        if page := self._page.get(request.path):
            request.check_method("GET")
            return _page_file(page)
        if not self._service.allows(request.authorization):
            raise Refusal(Reason.UNAUTHENTICATED, "this server wants a bearer token")
        match request.path:
            case ("v2", "models", "stats"):
                request.check_method("GET")
                stats = [model.statistics.message for model in self._service.repository if model.was_ready]
                return json_response(ModelStatisticsList(stats))
            case ("v2", "models", name, "versions", version, *what):
                return await self._model(request, name, version, tuple(what))
            case ("v2", "models", name, *what):
                return await self._model(request, name, "", tuple(what))
            case ("v2",):
                request.check_method("GET")
                return json_response(server_metadata())
            case ("v2", "repository", "index"):
                request.check_method("POST")
                asked = await self._message(request, IndexRequest)
                return json_response(self._service.repository.index(asked.ready))
            case ("v2", "repository", "models", name, "load" | "unload" as action):
                request.check_method("POST")
                return await self._control(request, name, action)
            case ("v2", "systemsharedmemory", *what):
                return await self._shared_memory(request, tuple(what))
        raise Refusal(Reason.NOT_FOUND, "there is nothing at this address")

    async def _model(self, request: Request, name: str, version: str, what: tuple[str, ...]) -> Response:
        repository = self._service.repository
        match what:
            case ("infer",):
                request.check_method("POST")
                return await infer(self._service, request, name, version)
            case ("predict",) if request.method == "POST":
                return await predict(self._service, request, name, version)
        request.check_method("GET")
        match what:
            case ("ready",):
                model = repository.find(name, version)
                return Response() if model.ready else refused(model.refusal())
            case ():
                return json_response(model_metadata(repository.find_loaded(name, version)))
            case ("predict",):
                return json_response(describe(repository.find_loaded(name, version)))
            case ("config",):
                return json_response(model_config(repository.find_loaded(name, version), self._service.options))
            case ("stats",):
                return json_response(ModelStatisticsList([repository.find_loaded(name, version).statistics.message]))
        raise Refusal(Reason.NOT_FOUND, "there is nothing at this address")

    async def _message(self, request: Request, kind: type[T]) -> T:
        """A small JSON body; an empty one has every default."""
        body = await read_whole(self._service, request)
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
                request.check_method("GET")
                return json_response(memory.status("" if len(what) == 1 else what[1]))
            case ("region", name, "register"):
                request.check_method("POST")
                asked = await self._message(request, RegisterRegion)
                memory.register(Region(name, asked.key, asked.offset, asked.byte_size))
                return Response()
            case ("unregister",) | ("region", _, "unregister"):
                request.check_method("POST")
                memory.unregister("" if len(what) == 1 else what[1])
                return Response()
        raise Refusal(Reason.NOT_FOUND, "there is nothing at this address")


def _page_file(page: PageFile) -> Response:
    return Response(page.content, kind=page.kind, headers=encoded(page.headers))


def _health(request: Request, good: bool) -> Response:
    request.check_method("GET")
    return Response(status=200 if good else 503)
