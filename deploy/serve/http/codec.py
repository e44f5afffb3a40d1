"""Requests and responses for inference as HTTP bodies: a JSON header, with tensors in it or as bytes behind it."""

from __future__ import annotations

from collections.abc import Sequence
from types import GenericAlias
from typing import Any

import msgspec

from adroit.deploy.serve.engine.inference import Inference, InferenceResult, known_parameters
from adroit.deploy.serve.engine.shared_memory import SharedMemory
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.datatypes import datatype_from_dtype
from adroit.deploy.serve.protocol.messages import (
    InferenceRequest,
    InferenceResponse,
    InputTensor,
    OutputTensor,
    TensorParameters,
)
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.deploy.serve.protocol.tensors import (
    RawBytes,
    RequestTensor,
    bytes_from_array,
    no_classification,
    slice_bytes,
)

_request_decoder = msgspec.json.Decoder(InferenceRequest)
_encode = msgspec.json.Encoder().encode
_KINDS: dict[str, Any] = {"BOOL": bool, "FP16": float, "FP32": float, "FP64": float}


def read_request(
    body: RawBytes, header_length: int | None, authorization: str, memory: SharedMemory, limits: Limits
) -> tuple[InferenceRequest, Inference]:
    """Read a request's body.

    Args:
        header_length: length of the JSON part in bytes; None where the body is JSON throughout.

    Raises:
        Refusal: a body that is not such a request.
    """
    buffer = memoryview(body)
    json_size = len(buffer) if header_length is None else header_length
    if json_size > len(buffer):
        raise invalid(f"Inference-Header-Content-Length is {json_size}, the body has {len(buffer)} bytes")
    if json_size > limits.json_bytes:
        raise Refusal(Reason.TOO_LARGE, f"JSON may have {limits.json_bytes} bytes; send tensors as binary data")
    request: InferenceRequest = _decode(_request_decoder, buffer[:json_size])
    rest = buffer[json_size:]
    tensors = []
    for tensor in request.inputs:
        content, rest = _content(tensor, rest, memory, limits)
        tensors.append(RequestTensor(tensor.name, tensor.datatype, tuple(tensor.shape), content))
    if len(rest):
        raise invalid(f"{len(rest)} bytes follow the last tensor")
    parameters = known_parameters(request.parameters or {})
    if not isinstance(parameters.get("binary_data_output", False), bool):
        raise invalid("parameter binary_data_output must be true or false")
    for output in request.outputs or ():
        if output.parameters and output.parameters.classification:
            raise no_classification(output.name)
    outputs = [output.name for output in request.outputs or ()]
    return request, Inference(tensors, outputs, parameters, None, authorization)


def _decode(decoder: msgspec.json.Decoder[Any], content: RawBytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        raise invalid(f"not an inference request: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"not JSON: {error}") from None
    except RecursionError:
        raise invalid("the JSON is nested too deeply") from None


def _content(
    tensor: InputTensor, rest: memoryview, memory: SharedMemory, limits: Limits
) -> tuple[RawBytes | Sequence[Any], memoryview]:
    """Return the tensor's bytes or numbers, and the body behind it."""
    where = tensor.parameters or TensorParameters()
    region, size = where.shared_memory_region, where.binary_data_size
    data = bytes(tensor.data).removeprefix(b"null")
    if (region is not None) + (size is not None) + bool(data) != 1:
        raise invalid(f"input {tensor.name} must have one of data, binary_data_size and shared_memory_region")
    if where.binary_data is not None:
        raise invalid(f"input {tensor.name}: binary_data is a parameter of outputs")
    if region is not None:
        length = where.shared_memory_byte_size or 0
        if length > limits.body_bytes:
            raise Refusal(Reason.TOO_LARGE, f"a tensor may have {limits.body_bytes} bytes")
        return memory.read(region, where.shared_memory_offset or 0, length), rest
    if size is not None:
        return slice_bytes(rest, 0, size, tensor.name), rest[size:]
    return _numbers(tensor), rest


def _numbers(tensor: InputTensor) -> Sequence[Any]:
    """Return the numbers of a list that is flat, or nested as the shape is, as a flat list."""
    kind = _KINDS.get(tensor.datatype, int)
    try:
        flat: Sequence[Any] = msgspec.json.decode(tensor.data, type=GenericAlias(list, (kind,)))
        return flat
    except msgspec.ValidationError as error:
        if len(tensor.shape) < 2 or not bytes(tensor.data)[1:64].lstrip().startswith(b"["):
            raise invalid(f"input {tensor.name}: {error}") from None
    nested: Any = kind
    for _ in tensor.shape:
        nested = GenericAlias(list, (nested,))
    level = _decode(msgspec.json.Decoder(nested), tensor.data)
    for size in tensor.shape[1:]:
        if any(len(part) != size for part in level):
            raise invalid(f"input {tensor.name}: its lists are not nested as its shape says")
        level = [value for part in level for value in part]
    return list(level)


def write_response(
    name: str, version: str, request: InferenceRequest, result: InferenceResult, memory: SharedMemory
) -> tuple[bytes, int | None]:
    """Return the response's body, and the length of its JSON part where bytes follow."""
    requested = {output.name: output.parameters for output in request.outputs or ()}
    binary_by_default = bool((request.parameters or {}).get("binary_data_output"))
    outputs, tail = [], []
    for output_name, array in result.outputs.items():
        how = requested.get(output_name) or TensorParameters()
        tensor = OutputTensor(output_name, datatype_from_dtype(array.dtype), list(array.shape))
        if how.shared_memory_region is not None:
            content = bytes_from_array(array)
            offset = how.shared_memory_offset or 0
            memory.write(how.shared_memory_region, offset, how.shared_memory_byte_size or 0, content)
            tensor.parameters = TensorParameters(
                shared_memory_region=how.shared_memory_region, shared_memory_byte_size=len(content),
                shared_memory_offset=offset or None,
            )  # fmt: skip
        elif binary_by_default if how.binary_data is None else how.binary_data:
            tail.append(bytes_from_array(array))
            tensor.parameters = TensorParameters(binary_data_size=len(tail[-1]))
        else:
            tensor.data = array.ravel().tolist()  # NaN and infinity, which JSON has no words for, become null
        outputs.append(tensor)
    head = _encode(InferenceResponse(name, version, outputs, request.id or "", dict(result.parameters)))
    return (b"".join([head, *tail]), len(head)) if tail else (head, None)
