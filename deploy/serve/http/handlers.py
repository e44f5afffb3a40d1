"""Handlers of everything but inference: health, metadata, statistics, the repository, shared memory, the page."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from adroit.deploy.serve.engine import metadata
from adroit.deploy.serve.engine.model import Model
from adroit.deploy.serve.http.exchange import Request, Response, encode_headers, error_response, json_response
from adroit.deploy.serve.http.inference_handlers import read_request_body
from adroit.deploy.serve.http.page_files import PageFile
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
from adroit.deploy.serve.service import Service

T = TypeVar("T")


def page_file(request: Request, page: PageFile) -> Response:
    """Answer with a file of the web page. Raises Refusal for a method other than GET."""
    if request.method not in ("GET", "HEAD"):
        raise Refusal(Reason.METHOD_NOT_ALLOWED, "this URL takes GET")
    return Response(page.content, kind=page.kind, headers=encode_headers(page.headers))


async def server_live(service: Service, _: Request) -> Response:
    """Answer 200, or 503 where only a new process can help."""
    return Response(status=200 if service.repository.live else 503)


async def server_ready(service: Service, _: Request) -> Response:
    """Answer 200, or 503 while models load, a runtime is broken or the server stops."""
    return Response(status=200 if service.ready else 503)


async def server_metadata(_: Service, __: Request) -> Response:
    """Answer with the server's name, version and extensions."""
    return json_response(metadata.server_metadata())


async def model_ready(service: Service, request: Request) -> Response:
    """Answer 200, or 503 with the reason. Raises Refusal for an unknown model."""
    model = service.repository.find(*request.model_and_version)
    return Response() if model.ready else error_response(model.refusal())


async def model_metadata(service: Service, request: Request) -> Response:
    """Answer with the model's inputs and outputs. Raises Refusal for a model that never loaded."""
    return json_response(metadata.model_metadata(_loaded(service, request)))


async def model_config(service: Service, request: Request) -> Response:
    """Answer with Triton's configuration of the model. Raises Refusal for a model that never loaded."""
    return json_response(metadata.model_config(_loaded(service, request), service.options))


async def model_statistics(service: Service, request: Request) -> Response:
    """Answer with the statistics of one model. Raises Refusal for a model that never loaded."""
    return json_response(ModelStatisticsList([_loaded(service, request).statistics.message]))


async def all_statistics(service: Service, _: Request) -> Response:
    """Answer with the statistics of every model that was loaded."""
    return json_response(ModelStatisticsList([m.statistics.message for m in service.repository if m.was_ready]))


async def describe_model(service: Service, request: Request) -> Response:
    """Answer with what a client can request of `predict`. Raises Refusal for a model that never loaded."""
    return json_response(describe(_loaded(service, request)))


async def repository_index(service: Service, request: Request) -> Response:
    """Answer with the models of the repository and their states."""
    message = await _message(service, request, IndexRequest)
    return json_response(service.repository.index(bool(message.ready)))


async def load_model(service: Service, request: Request) -> Response:
    """Load a model, or load it again. Raises Refusal where clients may not, or where it cannot be loaded."""
    await _message(service, request, LoadRequest)
    await service.repository.load(request.parameters["model"])
    return Response()


async def unload_model(service: Service, request: Request) -> Response:
    """Unload a model. Raises Refusal where clients may not, or where there is no such model."""
    await _message(service, request, UnloadRequest)
    await service.repository.unload(request.parameters["model"])
    return Response()


async def shared_memory_status(service: Service, request: Request) -> Response:
    """Answer with one registered region, or with all. Raises Refusal for an unknown one."""
    return json_response(service.shared_memory.status(request.parameters.get("region", "")))


async def register_region(service: Service, request: Request) -> Response:
    """Register a region of shared memory. Raises Refusal for one that cannot be used."""
    message = await _message(service, request, RegisterRegion)
    region = Region(request.parameters["region"], message.key, message.offset or 0, message.byte_size)
    service.shared_memory.register(region)
    return Response()


async def unregister_region(service: Service, request: Request) -> Response:
    """Forget one registered region, or all of them."""
    service.shared_memory.unregister(request.parameters.get("region", ""))
    return Response()


def _loaded(service: Service, request: Request) -> Model:
    return service.repository.find_loaded(*request.model_and_version)


async def _message(service: Service, request: Request, kind: type[T]) -> T:
    """Read a small JSON body; an empty one has every default."""
    body = await read_request_body(service, request)
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"the body is not such a request: {error}") from None
