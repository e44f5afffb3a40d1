"""The protocol over gRPC: its methods, and grpc.health.v1.

Messages are parsed here and not by gRPC, which would call bytes that are no message an internal error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import grpc
import msgspec
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message

from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.serve.engine.metadata import model_config, model_metadata, server_metadata
from adroit.deploy.serve.grpc.codec import read_request, write_response
from adroit.deploy.serve.grpc.receiving import MessageReceiver
from adroit.deploy.serve.protocol.messages import Region
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.deploy.serve.service import Service

logger = logging.getLogger("adroit.serve")
SERVICE, HEALTH = "inference.GRPCInferenceService", "grpc.health.v1.Health"
Context: TypeAlias = "grpc.aio.ServicerContext"
M = TypeVar("M", bound=Message)
# The number of requests of one stream that are worked on at a time.
_STREAM_DEPTH = 32
_WATCH_SECONDS = 0.5


def rpc_handlers(service: Service) -> list[grpc.GenericRpcHandler]:
    """Return the handlers of all methods, for `grpc.aio.server(handlers=...)`."""
    methods = _Methods(service)
    unary: dict[str, tuple[type[Message], Callable[[Any, Context], Awaitable[Message]]]] = {
        "ServerLive": (pb.ServerLiveRequest, methods.server_live),
        "ServerReady": (pb.ServerReadyRequest, methods.server_ready),
        "ModelReady": (pb.ModelReadyRequest, methods.model_ready),
        "ServerMetadata": (pb.ServerMetadataRequest, methods.server_metadata),
        "ModelMetadata": (pb.ModelMetadataRequest, methods.model_metadata),
        "ModelConfig": (pb.ModelConfigRequest, methods.model_config),
        "ModelStatistics": (pb.ModelStatisticsRequest, methods.model_statistics),
        "RepositoryIndex": (pb.RepositoryIndexRequest, methods.repository_index),
        "RepositoryModelLoad": (pb.RepositoryModelLoadRequest, methods.load),
        "RepositoryModelUnload": (pb.RepositoryModelUnloadRequest, methods.unload),
        "SystemSharedMemoryStatus": (pb.SystemSharedMemoryStatusRequest, methods.memory_status),
        "SystemSharedMemoryRegister": (pb.SystemSharedMemoryRegisterRequest, methods.memory_register),
        "SystemSharedMemoryUnregister": (pb.SystemSharedMemoryUnregisterRequest, methods.memory_unregister),
    }
    protocol = {name: methods.unary(kind, method, name not in _PUBLIC) for name, (kind, method) in unary.items()}
    protocol["ModelInfer"] = methods.handler(methods.model_infer, True)
    protocol["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(methods.stream)
    health = {
        "Check": methods.unary(pb.HealthCheckRequest, methods.health, False),
        "Watch": grpc.unary_stream_rpc_method_handler(methods.watch),
    }
    return [
        grpc.method_handlers_generic_handler(SERVICE, protocol),
        grpc.method_handlers_generic_handler(HEALTH, health),
    ]


# The methods of probes, which need no token.
_PUBLIC = frozenset({"ServerLive", "ServerReady"})


class _Methods:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._receiver = MessageReceiver(service.options.limits)

    def unary(
        self, kind: type[M], method: Callable[[M, Context], Awaitable[Message]], protected: bool
    ) -> grpc.RpcMethodHandler:
        return self.handler(lambda content, context: method(parse(kind, content), context), protected)

    def handler(self, method: Callable[[bytes, Context], Awaitable[Message]], protected: bool) -> grpc.RpcMethodHandler:
        """Wrap a method of one message; a protected one needs the token."""

        async def handle(_: AsyncIterator[bytes], context: Context) -> bytes:
            try:
                if protected:
                    self._check_token(context)
                content = await self._receiver.receive(context)
                return bytes((await method(content, context)).SerializeToString())
            except Refusal as refusal:
                await context.abort(getattr(grpc.StatusCode, refusal.reason.code), refusal.text)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception:
                logger.exception("a bug of ours")
                await context.abort(grpc.StatusCode.INTERNAL, "the server failed; the reason is in its log")
            raise AssertionError  # abort always raises

        return grpc.stream_unary_rpc_method_handler(handle)

    def _check_token(self, context: Context) -> None:
        if not self._service.allows(_authorization(context)):
            raise Refusal(Reason.UNAUTHENTICATED, "this server wants a bearer token")

    async def server_live(self, _: pb.ServerLiveRequest, __: Context) -> Message:
        return pb.ServerLiveResponse(live=self._service.repository.live)

    async def server_ready(self, _: pb.ServerReadyRequest, __: Context) -> Message:
        return pb.ServerReadyResponse(ready=self._service.ready)

    async def model_ready(self, request: pb.ModelReadyRequest, _: Context) -> Message:
        return pb.ModelReadyResponse(ready=self._service.repository.find(request.name, request.version).ready)

    async def server_metadata(self, _: pb.ServerMetadataRequest, __: Context) -> Message:
        return _message_from_json(server_metadata(), pb.ServerMetadataResponse())

    async def model_metadata(self, request: pb.ModelMetadataRequest, _: Context) -> Message:
        model = self._service.repository.find_loaded(request.name, request.version)
        return _message_from_json(model_metadata(model), pb.ModelMetadataResponse())

    async def model_config(self, request: pb.ModelConfigRequest, _: Context) -> Message:
        model = self._service.repository.find_loaded(request.name, request.version)
        return _message_from_json({"config": model_config(model, self._service.options)}, pb.ModelConfigResponse())

    async def model_statistics(self, request: pb.ModelStatisticsRequest, _: Context) -> Message:
        repository = self._service.repository
        models = [repository.find_loaded(request.name, request.version)] if request.name else list(repository)
        stats = [model.statistics.message for model in models if model.was_ready]
        return _message_from_json({"model_stats": stats}, pb.ModelStatisticsResponse())

    async def repository_index(self, request: pb.RepositoryIndexRequest, _: Context) -> Message:
        models = self._service.repository.index(request.ready)
        return _message_from_json({"models": models}, pb.RepositoryIndexResponse())

    async def load(self, request: pb.RepositoryModelLoadRequest, _: Context) -> Message:
        if request.parameters:
            raise invalid("a model's files and configuration are the repository's: load takes no parameters")
        await self._service.repository.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def unload(self, request: pb.RepositoryModelUnloadRequest, _: Context) -> Message:
        if set(request.parameters) - {"unload_dependents"}:
            raise invalid("unload takes no parameter but unload_dependents")
        await self._service.repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def memory_status(self, request: pb.SystemSharedMemoryStatusRequest, _: Context) -> Message:
        regions = {region.name: region for region in self._service.shared_memory.status(request.name)}
        return _message_from_json({"regions": regions}, pb.SystemSharedMemoryStatusResponse())

    async def memory_register(self, request: pb.SystemSharedMemoryRegisterRequest, _: Context) -> Message:
        self._service.shared_memory.register(Region(request.name, request.key, request.offset, request.byte_size))
        return pb.SystemSharedMemoryRegisterResponse()

    async def memory_unregister(self, request: pb.SystemSharedMemoryUnregisterRequest, _: Context) -> Message:
        self._service.shared_memory.unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def model_infer(self, content: bytes, context: Context) -> Message:
        return await self._infer(parse(pb.ModelInferRequest, content), len(content), context)

    async def _infer(self, request: pb.ModelInferRequest, size: int, context: Context) -> Message:
        """Run one inference, whose message has `size` bytes; cancelled where the call is."""
        service = self._service
        memory, limits = service.shared_memory, service.options.limits
        with service.track("grpc") as tracked, service.pending.reserve() as reservation:
            if service.stopping:
                # Said here, clients know that nothing was done; what gRPC itself drops at the end says less.
                raise Refusal(Reason.NOT_READY, "the server is stopping")
            reservation.take(size)
            tracked.model = model = service.repository.find_loaded(request.model_name, request.model_version)
            inference = read_request(request, context.time_remaining(), _authorization(context), memory, limits)
            result = await service.infer(model, inference)
            return write_response(model.name, model.version, request, result, memory, limits)

    async def stream(self, contents: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Yield responses in the order of the requests, which are worked on together."""
        try:
            self._check_token(context)
            with self._receiver.open_stream():
                async for answer in self._answers(contents, context):
                    yield answer
        except Refusal as refusal:
            await context.abort(getattr(grpc.StatusCode, refusal.reason.code), refusal.text)

    async def _answers(self, contents: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        working: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(_STREAM_DEPTH)

        async def read() -> None:
            async for content in contents:
                await working.put(asyncio.create_task(self._streamed(content, context)))
            await working.put(None)

        reader = asyncio.create_task(read())
        try:
            while (task := await working.get()) is not None:
                yield await task
        finally:
            reader.cancel()
            while not working.empty():
                if task := working.get_nowait():
                    task.cancel()

    async def _streamed(self, content: bytes, context: Context) -> bytes:
        """Answer one request of a stream; a refusal does not end the stream, its response has the error and the id."""
        response, request = pb.ModelStreamInferResponse(), pb.ModelInferRequest()
        try:
            request = parse(pb.ModelInferRequest, content)
            response.infer_response.CopyFrom(await self._infer(request, len(content), context))
        except Refusal as refusal:
            response.error_message, response.infer_response.id = refusal.text, request.id
        return bytes(response.SerializeToString())

    def _status(self, service: str) -> pb.HealthCheckResponse.ServingStatus:
        if service not in ("", SERVICE, HEALTH):
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        return pb.HealthCheckResponse.SERVING if self._service.ready else pb.HealthCheckResponse.NOT_SERVING

    async def health(self, request: pb.HealthCheckRequest, _: Context) -> Message:
        status = self._status(request.service)
        if status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            raise Refusal(Reason.NOT_FOUND, "there is no such service")
        return pb.HealthCheckResponse(status=status)

    async def watch(self, content: bytes, context: Context) -> AsyncIterator[bytes]:
        """Yield the status now, and again whenever it changes."""
        try:
            request = parse(pb.HealthCheckRequest, content)
        except Refusal as refusal:
            await context.abort(getattr(grpc.StatusCode, refusal.reason.code), refusal.text)
        last = None
        while not self._service.stopping or last != pb.HealthCheckResponse.NOT_SERVING:
            status = self._status(request.service)
            if status != last:
                last = status
                yield pb.HealthCheckResponse(status=status).SerializeToString()
            await asyncio.sleep(_WATCH_SECONDS)


def _authorization(context: Context) -> str:
    value = dict(context.invocation_metadata() or ()).get("authorization", "")
    return value if isinstance(value, str) else ""


def parse(kind: type[M], content: bytes) -> M:
    """Parse a message of that kind. Raises Refusal for other bytes."""
    try:
        message: M = kind.FromString(content)
        return message
    except (DecodeError, ValueError) as error:
        raise invalid(f"not a {kind.DESCRIPTOR.name}: {error}") from None


def _message_from_json(message: Any, into: M) -> M:
    """Fill the protobuf message `into` from the JSON message, whose fields have the same names."""
    ParseDict(msgspec.to_builtins(message), into)
    return into
