"""What may be chosen of a runtime. Imports nothing, so that the command line may name the choices."""

from __future__ import annotations

from enum import StrEnum


class RuntimeName(StrEnum):
    """What runs a deployment."""

    onnxruntime = "onnxruntime"
    torch = "torch"
    tensorrt = "tensorrt"
    tensorrt_lean = "tensorrt-lean"
    tensorrt_rtx = "tensorrt-rtx"


class OperatorForm(StrEnum):
    """Native kernels, or the portable bodies (much slower, any machine)."""

    native = "native"
    portable = "portable"
