"""The configurations by which a Triton Inference Server reads the same folder.

    <deployment>/config.pbtxt             ONNX Runtime backend, on the exported model
    <deployment>/configs/tensorrt.pbtxt   TensorRT backend, on the newest plan that `adroit build` made of it

The protobuf text is Triton's ModelConfig. Checked against a Triton 2.51; say `--model-config-name=tensorrt`
for the second (models without it keep the first).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import text_format
from google.protobuf.json_format import ParseDict

from adroit.deploy.deployment.builds import TensorRTBuild
from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.protocol import open_inference_pb2 as pb

PLAN_CONFIG = "configs/tensorrt.pbtxt"
# Where the libraries of operators lie on a machine with Triton. Absolute: a relative name would be looked
# for in the server's working directory. Not in the repository: nothing executable is loaded from there.
LIBRARIES = "/opt/adroit"
ONNXRUNTIME_LIBRARY = f"{LIBRARIES}/libadroit_onnxruntime.so"
TENSORRT_LIBRARY = f"{LIBRARIES}/libadroit_tensorrt.so"
# As `adroit serve` has them.
BATCH, QUEUE, QUEUE_MICROSECONDS = 16, 64, 10_000_000

_TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "uint8": "TYPE_UINT8",
    "int64": "TYPE_INT64",
    "bool": "TYPE_BOOL",
}


def triton_config(info: Description, versions: Sequence[int] = ()) -> str:
    """Writes the configuration of the exported model in ONNX Runtime, with adroit's operators where the model has them.

    Args:
        versions: the version folders to serve; the newest if none is named.
    """
    config: dict[str, Any] = {"backend": "onnxruntime", **_common(info, BATCH)}
    if versions:
        config["version_policy"] = {"specific": {"versions": list(versions)}}
    if info.operators:
        config["model_operations"] = {"op_library_filename": [ONNXRUNTIME_LIBRARY]}
    return _text(config)


def plan_config(info: Description, version: int, record: TensorRTBuild) -> str:
    """Writes the configuration of a plan: one instance a GPU, CUDA graphs, every profile of the build.

    Args:
        version: the version folder of the plan. record: of the build.
    """
    profiles, image = record.profiles, info.inputs[0].name
    largest = max(ranges[image].max[0] for ranges in profiles.values())
    config = {
        "platform": "tensorrt_plan",
        "default_model_filename": "model.plan",
        **_common(info, largest),
        "version_policy": {"specific": {"versions": [version]}},
        "instance_group": [{"kind": "KIND_GPU", "count": 1, "profile": [str(i) for i in range(len(profiles))]}],
        "optimization": {"cuda": {"graphs": True}},
    }
    return _text(config)


def _common(info: Description, batch: int) -> dict[str, Any]:
    """Dimensions are those of one sample: `max_batch_size` stands for the first."""
    return {
        "name": info.name,
        "max_batch_size": batch,
        "input": [_tensor(spec) | _reshaped(spec) for spec in info.inputs],
        "output": [_tensor(spec) for spec in info.outputs],
        "dynamic_batching": {
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": QUEUE_MICROSECONDS,
                "allow_timeout_override": True,
                "max_queue_size": QUEUE,
            }
        },
        "model_warmup": [
            {"name": "one image", "batch_size": 1, "inputs": {s.name: _zeros(info, s) for s in info.inputs}}
        ],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    dims = [size if isinstance(size, int) else -1 for size in spec.shape[1:]]
    return {"name": spec.name, "data_type": _TYPES[spec.dtype], "dims": dims or [1]}


def _reshaped(spec: TensorSpec) -> dict[str, Any]:
    """Thresholds are [N] to the model; Triton has no tensors without dimensions, so to clients they are [N,1]."""
    return {"reshape": {"shape": []}} if spec.name == GATE_THRESHOLD_INPUT else {}


def _zeros(info: Description, spec: TensorSpec) -> dict[str, Any]:
    dims = list(info.usual_shape(spec)[1:]) or [1]
    return {"data_type": _TYPES[spec.dtype], "dims": dims, "zero_data": True}


def _text(config: Mapping[str, Any]) -> str:
    return str(text_format.MessageToString(ParseDict(config, pb.ModelConfig())))
