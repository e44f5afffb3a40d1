"""The protocol's JSON messages. What is not in them is refused by name, never passed over."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

Size = Annotated[int, Meta(ge=0, le=1 << 48)]
Dimension = Annotated[int, Meta(ge=1, le=1 << 62)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Parameter = bool | int | float | str


class TensorParameters(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Where an input's bytes are, or how an output is to come."""

    binary_data_size: Size | None = None
    binary_data: bool | None = None
    shared_memory_region: Name | None = None
    shared_memory_byte_size: Size | None = None
    shared_memory_offset: Size | None = None


class InputTensor(Struct, forbid_unknown_fields=True):
    name: Name
    datatype: Name
    shape: Annotated[list[Dimension], Meta(max_length=8)]
    parameters: TensorParameters = msgspec.field(default_factory=TensorParameters)
    data: msgspec.Raw = msgspec.Raw()


class RequestedOutput(Struct, forbid_unknown_fields=True):
    name: Name
    parameters: TensorParameters = msgspec.field(default_factory=TensorParameters)


class InferenceRequest(Struct, forbid_unknown_fields=True):
    inputs: Annotated[list[InputTensor], Meta(min_length=1, max_length=16)]
    outputs: Annotated[list[RequestedOutput], Meta(max_length=16)] = []
    parameters: dict[str, Parameter] = {}
    id: Annotated[str, Meta(max_length=1024)] = ""


class OutputTensor(Struct, omit_defaults=True):
    name: str
    datatype: str
    shape: list[int]
    parameters: TensorParameters | None = None
    data: list[Any] | None = None


class InferenceResponse(Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str = ""
    parameters: dict[str, Parameter] = {}


class TensorMetadata(Struct):
    """-1 is a dimension that is free."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Struct):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    properties: dict[str, str] = {}


class ServerMetadata(Struct):
    name: str
    version: str
    extensions: list[str]


class IndexedModel(Struct):
    """state: READY, UNAVAILABLE, LOADING; `reason` where it is not ready."""

    name: str
    version: str
    state: str
    reason: str


class IndexRequest(Struct, forbid_unknown_fields=True):
    ready: bool = False


class LoadRequest(Struct, forbid_unknown_fields=True):
    """Parameters would replace a model's files or configuration, which clients here never do."""

    parameters: Annotated[dict[str, Any], Meta(max_length=0)] = {}


class UnloadParameters(Struct, forbid_unknown_fields=True):
    """`unload_dependents` of an ensemble, which there is none of here."""

    unload_dependents: bool = False


class UnloadRequest(Struct, forbid_unknown_fields=True):
    parameters: UnloadParameters = msgspec.field(default_factory=UnloadParameters)


class RegisterRegion(Struct, forbid_unknown_fields=True):
    key: Name
    byte_size: Annotated[int, Meta(ge=1, le=1 << 48)]
    offset: Size = 0


class Region(Struct):
    name: str
    key: str
    offset: int
    byte_size: int


class Duration(Struct):
    count: int = 0
    ns: int = 0


class InferenceStatistics(Struct):
    """Times that requests spent. There is no cache; its fields are there for clients that read them."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class BatchStatistics(Struct):
    """Times of executions with so many samples."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(Struct):
    """`last_inference`: milliseconds since 1970. `inference_count`: samples. `execution_count`: batches."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics]


class ModelStatisticsList(Struct):
    model_stats: list[ModelStatistics]


class ErrorMessage(Struct):
    error: str
