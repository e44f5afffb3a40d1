"""The JSON messages of the protocol.

Clients of many servers send fields that are meant for another one, and null for what they leave out: unknown fields
are passed over, as Triton does, and null is the same as nothing.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

Size = Annotated[int, Meta(ge=0, le=1 << 48)]
Dimension = Annotated[int, Meta(ge=1, le=1 << 62)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Parameter = bool | int | float | str


class TensorParameters(Struct, omit_defaults=True):
    """The place of an input's bytes, or the form of an output; `classification` is refused (class_count of clients)."""

    binary_data_size: Size | None = None
    binary_data: bool | None = None
    shared_memory_region: Name | None = None
    shared_memory_byte_size: Size | None = None
    shared_memory_offset: Size | None = None
    classification: Any = None


class InputTensor(Struct):
    """A tensor of a request: its data as JSON, as bytes behind the JSON, or in shared memory."""

    name: Name
    datatype: Name
    shape: Annotated[list[Dimension], Meta(max_length=8)]
    parameters: TensorParameters | None = None
    data: msgspec.Raw = msgspec.Raw()


class RequestedOutput(Struct):
    """An output that a request names."""

    name: Name
    parameters: TensorParameters | None = None


class InferenceRequest(Struct):
    """A request for inference. Its parameters may be of any kind: those of other servers are passed over."""

    inputs: Annotated[list[InputTensor], Meta(min_length=1, max_length=16)]
    outputs: Annotated[list[RequestedOutput], Meta(max_length=16)] | None = None
    parameters: Annotated[dict[str, Any], Meta(max_length=64)] | None = None
    id: Annotated[str, Meta(max_length=1024)] | None = None


class OutputTensor(Struct, omit_defaults=True):
    """A tensor of a response."""

    name: str
    datatype: str
    shape: list[int]
    parameters: TensorParameters | None = None
    data: list[Any] | None = None


class InferenceResponse(Struct, omit_defaults=True):
    """A response with tensors."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str = ""
    parameters: dict[str, Parameter] = {}


class TensorMetadata(Struct):
    """The name, datatype and shape of an input or output; -1 is a free dimension."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Struct):
    """A model's inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    properties: dict[str, str] = {}


class ServerMetadata(Struct):
    """A server's name, version and extensions."""

    name: str
    version: str
    extensions: list[str]


class IndexedModel(Struct):
    """A model of the repository: its state is READY, UNAVAILABLE or LOADING; a model that is not ready has a reason."""

    name: str
    version: str
    state: str
    reason: str


class IndexRequest(Struct):
    """A request for the repository's index; `ready`: of the models that are ready alone."""

    ready: bool | None = None


class LoadRequest(Struct):
    """A request to load a model. Parameters would replace its files or configuration, which no client may do here."""

    parameters: Annotated[dict[str, Any], Meta(max_length=0)] | None = None


class UnloadParameters(Struct, forbid_unknown_fields=True):
    """The parameters to unload a model; `unload_dependents` is of ensembles, and there are none here."""

    unload_dependents: bool | None = None


class UnloadRequest(Struct):
    """A request to unload a model."""

    parameters: UnloadParameters | None = None


class RegisterRegion(Struct):
    """A request to register shared memory: the key of /dev/shm, and a part of it in bytes."""

    key: Name
    byte_size: Annotated[int, Meta(ge=1, le=1 << 48)]
    offset: Size | None = None


class Region(Struct):
    """A registered region of shared memory."""

    name: str
    key: str
    offset: int
    byte_size: int


class Duration(Struct):
    """A count, and the nanoseconds of all that was counted."""

    count: int = 0
    ns: int = 0


class InferenceStatistics(Struct):
    """The times of requests. There is no cache; its fields are there for clients that read them."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class BatchStatistics(Struct):
    """The times of executions with `batch_size` samples."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(Struct):
    """The statistics of one model.

    Attributes:
        last_inference: milliseconds since 1970.
        inference_count: samples.
        execution_count: batches.
    """

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics]


class ModelStatisticsList(Struct):
    """The statistics of several models."""

    model_stats: list[ModelStatistics]


class ErrorMessage(Struct):
    """The body of a refusal."""

    error: str
