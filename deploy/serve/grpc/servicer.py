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
from adroit.deploy.serve.grpc.inference import read_request, write_response
from adroit.deploy.serve.grpc.receiving import Receiving
from adroit.deploy.serve.protocol.messages import Region
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.deploy.serve.service import Service, model_config, model_metadata, server_metadata

logger = logging.getLogger("adroit.serve")
SERVICE, HEALTH = "inference.GRPCInferenceService", "grpc.health.v1.Health"
Context: TypeAlias = "grpc.aio.ServicerContext"
M = TypeVar("M", bound=Message)
# Requests of one stream that are worked on at a time.
_STREAM_DEPTH = 32
_WATCH_SECONDS = 0.5


def handlers(service: Service) -> list[grpc.GenericRpcHandler]:
    """For `grpc.aio.server(handlers=...)`."""
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
    protocol = {name: methods.unary(kind, method, name not in _OPEN) for name, (kind, method) in unary.items()}
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


# What a probe may ask without the token.
_OPEN = frozenset({"ServerLive", "ServerReady"})


class _Methods:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._receiving = Receiving(service.options.limits)

    def unary(
        self, kind: type[M], method: Callable[[M, Context], Awaitable[Message]], closed: bool
    ) -> grpc.RpcMethodHandler:
        return self.handler(lambda content, context: method(parsed(kind, content), context), closed)

    def handler(self, method: Callable[[bytes, Context], Awaitable[Message]], closed: bool) -> grpc.RpcMethodHandler:
        """Of calls with one message; `closed`: that must carry the token."""

        async def handle(_: AsyncIterator[bytes], context: Context) -> bytes:
            try:
                if closed:
                    self._check_token(context)
                content = await self._receiving.message(context)
                return bytes((await method(content, context)).SerializeToString())
            except Refusal as refusal:
                await context.abort(getattr(grpc.StatusCode, refusal.reason.code), refusal.text)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception:
                logger.exception("a bug of ours")
                await context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log tells more")
            raise AssertionError  # abort always raises

        return grpc.stream_unary_rpc_method_handler(handle)

    def _check_token(self, context: Context) -> None:
        if not self._service.allows(_authorization(context)):
            raise Refusal(Reason.UNAUTHENTICATED, "this server wants a bearer token")

    async def server_live(self, _: pb.ServerLiveRequest, __: Context) -> Message:
        return pb.ServerLiveResponse(live=self._service.repository.live)

    async def server_ready(self, _: pb.ServerReadyRequest, __: Context) -> Message:
        return pb.ServerReadyResponse(ready=self._service.ready)

    async def model_ready(self, asked: pb.ModelReadyRequest, _: Context) -> Message:
        return pb.ModelReadyResponse(ready=self._service.repository.find(asked.name, asked.version).ready)

    async def server_metadata(self, _: pb.ServerMetadataRequest, __: Context) -> Message:
        return _converted(server_metadata(), pb.ServerMetadataResponse())

    async def model_metadata(self, asked: pb.ModelMetadataRequest, _: Context) -> Message:
        model = self._service.repository.find_loaded(asked.name, asked.version)
        return _converted(model_metadata(model), pb.ModelMetadataResponse())

    async def model_config(self, asked: pb.ModelConfigRequest, _: Context) -> Message:
        model = self._service.repository.find_loaded(asked.name, asked.version)
        return _converted({"config": model_config(model, self._service.options)}, pb.ModelConfigResponse())

    async def model_statistics(self, asked: pb.ModelStatisticsRequest, _: Context) -> Message:
        repository = self._service.repository
        models = [repository.find_loaded(asked.name, asked.version)] if asked.name else list(repository)
        stats = [model.statistics.message for model in models if model.was_ready]
        return _converted({"model_stats": stats}, pb.ModelStatisticsResponse())

    async def repository_index(self, asked: pb.RepositoryIndexRequest, _: Context) -> Message:
        models = self._service.repository.index(asked.ready)
        return _converted({"models": models}, pb.RepositoryIndexResponse())

    async def load(self, asked: pb.RepositoryModelLoadRequest, _: Context) -> Message:
        if asked.parameters:
            raise invalid("a model's files and configuration are the repository's: load takes no parameters")
        await self._service.repository.load(asked.model_name)
        return pb.RepositoryModelLoadResponse()

    async def unload(self, asked: pb.RepositoryModelUnloadRequest, _: Context) -> Message:
        if set(asked.parameters) - {"unload_dependents"}:
            raise invalid("unload takes no parameter but unload_dependents")
        await self._service.repository.unload(asked.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def memory_status(self, asked: pb.SystemSharedMemoryStatusRequest, _: Context) -> Message:
        regions = {region.name: region for region in self._service.shared_memory.status(asked.name)}
        return _converted({"regions": regions}, pb.SystemSharedMemoryStatusResponse())

    async def memory_register(self, asked: pb.SystemSharedMemoryRegisterRequest, _: Context) -> Message:
        self._service.shared_memory.register(Region(asked.name, asked.key, asked.offset, asked.byte_size))
        return pb.SystemSharedMemoryRegisterResponse()

    async def memory_unregister(self, asked: pb.SystemSharedMemoryUnregisterRequest, _: Context) -> Message:
        self._service.shared_memory.unregister(asked.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def model_infer(self, content: bytes, context: Context) -> Message:
        return await self._infer(parsed(pb.ModelInferRequest, content), len(content), context)

    async def _infer(self, asked: pb.ModelInferRequest, size: int, context: Context) -> Message:
        """Of a message of so many bytes. Cancelled where the call is."""
        service = self._service
        memory, limits = service.shared_memory, service.options.limits
        with service.counted("grpc") as counted, service.pending.lease() as lease:
            if service.stopping:
                # Said here, clients know that nothing was done; what gRPC itself drops at the end says less.
                raise Refusal(Reason.NOT_READY, "the server is stopping")
            lease.take(size)
            counted.model = model = service.repository.find_loaded(asked.model_name, asked.model_version)
            inference = read_request(asked, context.time_remaining(), _authorization(context), memory, limits)
            answer = await service.infer(model, inference)
            return write_response(model.name, model.version, asked, answer, memory, limits)

    async def stream(self, contents: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Answers in the order of the requests, which are worked on together."""
        try:
            self._check_token(context)
            with self._receiving.stream():
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
        """A refused request does not end its stream: the response names the error, and the request by its id."""
        response, asked = pb.ModelStreamInferResponse(), pb.ModelInferRequest()
        try:
            asked = parsed(pb.ModelInferRequest, content)
            response.infer_response.CopyFrom(await self._infer(asked, len(content), context))
        except Refusal as refusal:
            response.error_message, response.infer_response.id = refusal.text, asked.id
        return bytes(response.SerializeToString())

    def _status(self, service: str) -> pb.HealthCheckResponse.ServingStatus:
        if service not in ("", SERVICE, HEALTH):
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        return pb.HealthCheckResponse.SERVING if self._service.ready else pb.HealthCheckResponse.NOT_SERVING

    async def health(self, asked: pb.HealthCheckRequest, _: Context) -> Message:
        status = self._status(asked.service)
        if status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            raise Refusal(Reason.NOT_FOUND, "there is no such service")
        return pb.HealthCheckResponse(status=status)

    async def watch(self, content: bytes, context: Context) -> AsyncIterator[bytes]:
        """The status now, and again whenever it changes."""
        try:
            asked = parsed(pb.HealthCheckRequest, content)
        except Refusal as refusal:
            await context.abort(getattr(grpc.StatusCode, refusal.reason.code), refusal.text)
        told = None
        while not self._service.stopping or told != pb.HealthCheckResponse.NOT_SERVING:
            status = self._status(asked.service)
            if status != told:
                told = status
                yield pb.HealthCheckResponse(status=status).SerializeToString()
            await asyncio.sleep(_WATCH_SECONDS)


def _authorization(context: Context) -> str:
    given = dict(context.invocation_metadata() or ()).get("authorization", "")
    return given if isinstance(given, str) else ""


def parsed(kind: type[M], content: bytes) -> M:
    """Raises Refusal for bytes that are no such message."""
    try:
        message: M = kind.FromString(content)
        return message
    except (DecodeError, ValueError) as error:
        raise invalid(f"not a {kind.DESCRIPTOR.name}: {error}") from None


def _converted(message: Any, into: M) -> M:
    """The JSON message as the protobuf one: their fields have the same names."""
    ParseDict(msgspec.to_builtins(message), into)
    return into
