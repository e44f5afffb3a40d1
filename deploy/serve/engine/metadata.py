"""The messages that describe a server and its models."""

from __future__ import annotations

from typing import Any

from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.serve.engine.budget import PARAMETERS
from adroit.deploy.serve.engine.model import Model
from adroit.deploy.serve.options import ServeOptions
from adroit.deploy.serve.protocol.datatypes import datatype_from_dtype
from adroit.deploy.serve.protocol.messages import ModelMetadata, ServerMetadata, TensorMetadata
from adroit.version import __version__

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics", "system_shared_memory")


def server_metadata() -> ServerMetadata:
    """Return the server's name, version and extensions."""
    return ServerMetadata("adroit", __version__, list(EXTENSIONS))


def model_metadata(model: Model) -> ModelMetadata:
    """Return a model's inputs and outputs; -1 is a free dimension.

    The image may also come as pixels, which `properties` says.
    """
    info = model.deployment.info
    properties = {"task": info.task, f"{info.inputs[0].name} as pixels": "UINT8 [-1,-1,-1,3]"}
    if model.budget.gated:
        properties["budget parameters"] = ", ".join(sorted(PARAMETERS))
    return ModelMetadata(
        model.name,
        [model.version],
        model.platform,
        [_tensor_metadata(spec) for spec in info.inputs],
        [_tensor_metadata(spec) for spec in info.outputs],
        properties,
    )


def _tensor_metadata(spec: TensorSpec) -> TensorMetadata:
    shape = [size if isinstance(size, int) else -1 for size in spec.shape]
    # The protocol sees a batch of thresholds as a column, as config.pbtxt does; [N] is taken too.
    return TensorMetadata(spec.name, datatype_from_dtype(spec.dtype), shape + [1] * (spec.name == GATE_THRESHOLD_INPUT))


def model_config(model: Model, options: ServeOptions) -> dict[str, Any]:
    """Return Triton's ModelConfig as this server runs the model, under the names of its fields."""
    limits, metadata = options.limits, model_metadata(model)
    return {
        "name": model.name,
        "platform": model.platform,
        "backend": options.runtime.runtime.value,
        "version_policy": {"specific": {"versions": [int(model.version)]}},
        "max_batch_size": limits.batch,
        "input": [_config_tensor(each) | {"optional": each.name == GATE_THRESHOLD_INPUT} for each in metadata.inputs],
        "output": [_config_tensor(each) for each in metadata.outputs],
        "instance_group": [{"kind": "KIND_CPU", "count": options.instances}],
        "dynamic_batching": {
            "max_queue_delay_microseconds": round(limits.delay_seconds * 1e6),
            "default_queue_policy": {
                "default_timeout_microseconds": round(limits.queue_seconds * 1e6),
                "allow_timeout_override": True,
                "max_queue_size": limits.queue_requests,
            },
        },
        "parameters": {name: {"string_value": text} for name, text in metadata.properties.items()},
    }


def _config_tensor(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": f"TYPE_{tensor.datatype}", "dims": tensor.shape[1:]}
