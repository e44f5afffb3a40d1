"""What may be chosen of a build. Imports nothing, so that the command line may name the choices."""

from __future__ import annotations

from enum import StrEnum


class Backend(StrEnum):
    """What the deployment is built for."""

    tensorrt = "tensorrt"
    tensorrt_rtx = "tensorrt-rtx"
    onnxruntime = "onnxruntime"


class Precision(StrEnum):
    """The arithmetic of the network. Our operators' sums are float32 in either."""

    fp32 = "fp32"
    fp16 = "fp16"


# What tensorrt-rtx compiles for on any machine, as 10 * major + minor.
COMPUTE_CAPABILITIES = (75, 80, 86, 89, 120, 121)
