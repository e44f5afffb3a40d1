"""Requests and responses for inference as gRPC messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.serve.engine.inference import Inference, InferenceResult, known_parameters
from adroit.deploy.serve.engine.shared_memory import SharedMemory
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.datatypes import datatype_from_dtype
from adroit.deploy.serve.protocol.messages import Parameter
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.deploy.serve.protocol.tensors import RequestTensor, bytes_from_array, no_classification

# The field with the values of a datatype, if they are not sent as bytes.
_FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
_REGION, _SIZE, _OFFSET = "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"


def read_request(
    message: pb.ModelInferRequest, seconds: float | None, authorization: str, memory: SharedMemory, limits: Limits
) -> Inference:
    """Read a request's message; its caller waits `seconds`. Raises Refusal."""
    raw = list(message.raw_input_contents)
    tensors = [_tensor(tensor, raw, bool(message.raw_input_contents), memory, limits) for tensor in message.inputs]
    if raw:
        raise invalid(f"{len(raw)} raw_input_contents are of no input")
    for output in message.outputs:
        _region_of(output.name, output.parameters, limits)
        if "classification" in output.parameters:
            raise no_classification(output.name)
    parameters = known_parameters({name: _value(value) for name, value in message.parameters.items()})
    return Inference(tensors, [output.name for output in message.outputs], parameters, seconds, authorization)


def _tensor(
    tensor: pb.ModelInferRequest.InferInputTensor, raw: list[bytes], has_raw: bool, memory: SharedMemory, limits: Limits
) -> RequestTensor:
    """Convert a tensor; its bytes are taken from the front of `raw`."""
    region = _region_of(tensor.name, tensor.parameters, limits)
    typed = tensor.HasField("contents")
    if typed and (region is not None or has_raw):
        raise invalid(f"input {tensor.name[:80]} has contents, and bytes too")
    content: bytes | Sequence[Any]
    if region is not None:
        content = memory.read(*region)
    elif typed:
        content = _typed(tensor)
    elif raw:
        content = raw.pop(0)
    else:
        raise invalid(f"input {tensor.name[:80]} has no contents")
    return RequestTensor(tensor.name, tensor.datatype, tuple(tensor.shape), content)


def _typed(tensor: pb.ModelInferRequest.InferInputTensor) -> Sequence[Any]:
    field = _FIELDS.get(tensor.datatype)
    others = [name.name for name, _ in tensor.contents.ListFields() if name.name != field]
    if field is None or others:
        raise invalid(
            f"input {tensor.name[:80]}: {tensor.datatype[:20]!r} is not sent as {''.join(others) or 'contents'}"
        )
    values: Sequence[Any] = getattr(tensor.contents, field)
    return values


def _value(parameter: pb.InferParameter) -> Parameter | None:
    choice = parameter.WhichOneof("parameter_choice")
    value: Parameter | None = None if choice is None else getattr(parameter, choice)
    return value


def _region_of(name: str, parameters: Mapping[str, pb.InferParameter], limits: Limits) -> tuple[str, int, int] | None:
    """Return region, offset and size in bytes of a tensor in shared memory; None for another tensor."""
    given = {key: _value(parameters[key]) for key in (_REGION, _SIZE, _OFFSET) if key in parameters}
    values = {key: value for key, value in given.items() if value is not None}
    if _REGION not in values:
        if values:
            raise invalid(f"tensor {name[:80]} has {min(values)}, and no {_REGION}")
        return None
    region, offset, size = values[_REGION], _size(name, values.get(_OFFSET, 0)), _size(name, values.get(_SIZE, 0))
    if not isinstance(region, str):
        raise invalid(f"tensor {name[:80]}: {_REGION} must be a text")
    if size > limits.body_bytes:
        raise Refusal(Reason.TOO_LARGE, f"a tensor may have {limits.body_bytes} bytes")
    return region, offset, size


def _size(name: str, value: Parameter) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise invalid(f"tensor {name[:80]}: offset and size of a region must be whole numbers")
    return value


def write_response(
    name: str,
    version: str,
    message: pb.ModelInferRequest,
    result: InferenceResult,
    memory: SharedMemory,
    limits: Limits,
) -> pb.ModelInferResponse:
    """Return the response: outputs as bytes, or written to the regions that the request names for them."""
    response = pb.ModelInferResponse(model_name=name, model_version=version, id=message.id)
    regions = {output.name: _region_of(output.name, output.parameters, limits) for output in message.outputs}
    for key, value in result.parameters.items():
        response.parameters[key].CopyFrom(_parameter(value))
    for output_name, array in result.outputs.items():
        content = bytes_from_array(array)
        tensor = response.outputs.add(name=output_name, datatype=datatype_from_dtype(array.dtype), shape=array.shape)
        region = regions.get(output_name)
        if region is None:
            response.raw_output_contents.append(content)
            continue
        memory.write(*region, content)
        tensor.parameters[_REGION].string_param = region[0]
        tensor.parameters[_SIZE].int64_param = len(content)
    return response


def _parameter(value: Parameter) -> pb.InferParameter:
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, int):
        return pb.InferParameter(int64_param=value)
    return pb.InferParameter(double_param=value) if isinstance(value, float) else pb.InferParameter(string_param=value)
