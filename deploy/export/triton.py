"""The config.pbtxt by which a Triton Inference Server reads the same folder."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.runtimes.base import TensorSpec

_TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "uint8": "TYPE_UINT8",
    "int64": "TYPE_INT64",
    "bool": "TYPE_BOOL",
}


def triton_config(
    name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], versions: Sequence[int] = ()
) -> str:
    """Protobuf text (Triton's ModelConfig): ONNX Runtime backend, every dimension as the model has it.

    max_batch_size 0 means that the dims below include the batch: the model takes any batch.

    Args:
        versions: the version folders to serve; the newest if none is named.
    """
    lines = [f'name: "{name}"', 'backend: "onnxruntime"', "max_batch_size: 0"]
    if versions:
        lines.append(f"version_policy: {{ specific: {{ versions: [{', '.join(map(str, versions))}] }} }}")
    for field, specs in (("input", inputs), ("output", outputs)):
        for spec in specs:
            dims = ", ".join(str(d) if isinstance(d, int) else "-1" for d in spec.shape)
            lines += [
                f"{field} {{",
                f'  name: "{spec.name}"',
                f"  data_type: {_TYPES[spec.dtype]}",
                f"  dims: [{dims}]",
                "}",
            ]
    return "\n".join(lines) + "\n"
