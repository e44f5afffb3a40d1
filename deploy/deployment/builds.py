"""The records of a deployment's builds. The field `backend` tells which kind a record is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from adroit.deploy.deployment.records import Record

Shape = tuple[int, ...]
Optimizations = Literal["all", "extended", "basic"]


class Range(Record, frozen=True):
    """Shapes of one input: the smallest, the one to be fastest at, the largest."""

    min: Shape
    opt: Shape
    max: Shape

    @property
    def shapes(self) -> dict[str, Shape]:
        """The three shapes by name."""
        return {"min": self.min, "opt": self.opt, "max": self.max}

    def holds(self, shape: Sequence[int]) -> bool:
        """Whether `shape` lies between the smallest and the largest."""
        return len(shape) == len(self.min) and all(
            low <= size <= high for low, size, high in zip(self.min, shape, self.max, strict=True)
        )


class PlanRecord(Record, frozen=True):
    """The header of a plan (deploy/runtimes/tensorrt/plan.py); compute capabilities are 10 * major + minor."""

    kind: Literal["tensorrt", "tensorrt-rtx"]
    version: str
    compute_capabilities: tuple[int, ...]


class GpuRecord(Record, frozen=True):
    """The GPU that a plan was built on; its compute capability is 10 * major + minor."""

    name: str
    compute_capability: int


class LibraryRecord(Record, frozen=True):
    """The library of plugins that a plan was built with."""

    file: str
    sha256: str


class OutputDifference(Record, frozen=True):
    """How far ONNX Runtime's optimized file is from the model, on noise.

    Attributes:
        share_of_largest: largest difference as a share of the largest value, by output.
    """

    images: int
    share_of_largest: Mapping[str, float]


class _Build(Record, frozen=True, tag_field="backend", kw_only=True, omit_defaults=True):
    """One build.

    Attributes:
        precision: "fp32" or "fp16".
        model: sha256 of the exported model that was built.
        adroit: the version that built it.
        builder: the name of the builder and its version.
        file: path in the deployment. sha256, bytes: of that file.
    """

    backend: ClassVar[str]
    precision: str
    model: str
    adroit: str
    builder: str
    file: str
    sha256: str
    bytes: int


class TensorRTBuild(_Build, frozen=True, tag="tensorrt", kw_only=True):
    """A plan of TensorRT.

    Attributes:
        form: "plugins" (our operators are plugins) or "functions" (their portable bodies).
        profiles: by name, the range of each input.
        plan: its header.
        layers: how many the engine has.
        gpu: that it was built on; None where it was built ahead of time.
        plugins: the library; None without custom operators.
        version_compatible: later versions of the runtime, and the lean one, run it.
        weights_stripped: it must be refitted before it runs.
        keep: nodes that stay in float32.
        seconds: that the build took.
        refitted_from: the version whose weights were stripped, where this is the refitted plan.
    """

    backend: ClassVar[str] = "tensorrt"
    form: Literal["plugins", "functions"]
    profiles: Mapping[str, Mapping[str, Range]]
    plan: PlanRecord
    layers: int
    gpu: GpuRecord | None
    plugins: LibraryRecord | None
    version_compatible: bool
    weights_stripped: bool
    keep: tuple[str, ...]
    seconds: float
    refitted_from: str | None = None


class TensorRTRtxBuild(TensorRTBuild, frozen=True, tag="tensorrt-rtx", kw_only=True):
    """A plan of TensorRT-RTX, with the fields of a plan of TensorRT."""

    backend: ClassVar[str] = "tensorrt-rtx"


class OnnxRuntimeBuild(_Build, frozen=True, tag="onnxruntime", kw_only=True):
    """ONNX Runtime's optimized file, for one kind of machine.

    Attributes:
        machine: as platform.machine names it.
        instruction_set: that our operators were built for; None without custom operators.
        difference: of its outputs from the model's.
        optimizations: ONNX Runtime's level, "all" where the file can be loaded again with them.
    """

    backend: ClassVar[str] = "onnxruntime"
    machine: str
    instruction_set: str | None
    difference: OutputDifference
    optimizations: Optimizations = "all"


BuildRecord = TensorRTBuild | TensorRTRtxBuild | OnnxRuntimeBuild
