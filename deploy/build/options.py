"""What a user may ask of a build, checked as far as it can be without the deployment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adroit.deploy.build.choices import COMPUTE_CAPABILITIES, Backend, Precision
from adroit.deploy.runtimes.tensorrt.profiles import Profile
from adroit.errors import UnsupportedModel, UsageError


@dataclass(frozen=True)
class BuildOptions:
    """How to build a deployment; see deploy/build/job.py for what is passed on.

    Attributes:
        compute_capabilities: of tensorrt-rtx: what to compile for, as 10 * major + minor.
        keep: names of ONNX nodes to leave in float32 in an fp16 build.
        workspace: mebibytes.
    """

    backend: Backend
    precision: Precision = Precision.fp32
    profiles: Sequence[Profile] = ()
    compute_capabilities: Sequence[int] = ()
    keep: Sequence[str] = ()
    workspace: int | None = None
    version_compatible: bool = False
    strip_weights: bool = False
    timing_cache: bool = True
    optimization_level: int = 3

    def check(self) -> None:
        """Raises UsageError or UnsupportedModel for settings that do not go together."""
        rtx, ort = self.backend == Backend.tensorrt_rtx, self.backend == Backend.onnxruntime
        if ort and self.precision == Precision.fp16:
            raise UnsupportedModel(
                "fp16 was requested, but ONNX Runtime computes float16 in float32 on CPUs: the file would be slower"
                " and less exact",
                hint="build fp16 with --backend tensorrt or tensorrt-rtx",
            )
        if self.keep and self.precision != Precision.fp16:
            raise UsageError("--keep-float32 is of fp16 builds", hint="add --precision fp16")
        given = {
            "--profile": bool(self.profiles) and ort,
            "--workspace": self.workspace is not None and ort,
            "--strip-weights": self.strip_weights and ort,
            "--version-compatible": self.version_compatible and self.backend != Backend.tensorrt,
            "--compute-capability": bool(self.compute_capabilities) and not rtx,
        }
        if wrong := [name for name, is_wrong in given.items() if is_wrong]:
            raise UsageError(f"{wrong[0]} does not go with --backend {self.backend}")
        if rtx and not self.compute_capabilities:
            raise UsageError(
                "tensorrt-rtx compiles for named GPUs",
                facts={"known": ", ".join(map(str, COMPUTE_CAPABILITIES))},
                hint="for example --compute-capability 89 (an RTX 4090); repeat it for several",
            )


def read_compute_capability(text: str) -> int:
    """10 * major + minor of "89", "8.9" or "sm_89"; raises UsageError for one that cannot be built for."""
    digits = re.sub(r"[^0-9]", "", text)
    if not re.fullmatch(r"(?i)(sm_?)?\d+(\.\d)?", text.strip()) or int(digits) not in COMPUTE_CAPABILITIES:
        raise UsageError(
            f"tensorrt-rtx does not compile for {text!r} ahead of time",
            facts={"known": ", ".join(map(str, COMPUTE_CAPABILITIES))},
        )
    return int(digits)
