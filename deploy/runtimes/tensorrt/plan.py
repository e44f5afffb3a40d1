"""Reads the header of a plan file, before any runtime sees the plan.

A runtime of another version answers with a magic number, or crashes; so the version is compared
first. Sources: TensorRT's tag and version bytes are those that NVIDIA's trtexec reads for
--getPlanVersionOnly (samples/common/sampleEngines.cpp of the public TensorRT repository);
tensorrt-rtx's were read from plans built for each compute capability (tests/deploy/build/test_plan.py).

    bytes 0-3    "ftrt" (TensorRT) or "vtrt" (tensorrt-rtx)
    bytes 4-7    the header's own version, 0
    bytes 24-27  major, minor, patch, build
    tensorrt-rtx only: bytes 16-23 the plan's size; bytes 32-35 one bit a compute capability
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adroit.deploy.deployment.builds import PlanRecord
from adroit.errors import UnsupportedModel, UsageError

PlanKind = Literal["tensorrt", "tensorrt-rtx"]
_TAGS: Mapping[bytes, PlanKind] = {b"ftrt": "tensorrt", b"vtrt": "tensorrt-rtx"}
_HEADER = 36
# In the order of their bits.
_CAPABILITIES = (75, 80, 86, 89, 120, 121)


@dataclass(frozen=True)
class PlanHeader:
    """The header of a plan: which builder built it, and for what.

    Attributes:
        version: major, minor, patch, build.
        compute_capabilities: those a tensorrt-rtx plan was compiled for, as 10 * major + minor.
            TensorRT's header does not tell.
    """

    kind: PlanKind
    version: tuple[int, int, int, int]
    compute_capabilities: tuple[int, ...] = ()

    def __str__(self) -> str:
        name = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}[self.kind]
        return f"{name} {version_text(self.version)}"

    def record(self) -> PlanRecord:
        """The header as adroit.json holds it."""
        return PlanRecord(self.kind, version_text(self.version), self.compute_capabilities)


def version_text(version: tuple[int, ...]) -> str:
    """Joins the parts of a version with dots."""
    return ".".join(map(str, version))


def read_plan_header(path: Path) -> PlanHeader:
    """Reads the header of the plan at `path`.

    Raises:
        UsageError: a file that cannot be read.
        UnsupportedModel: a file that is no plan, is cut short, or has a header of another version.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            data = file.read(_HEADER)
    except OSError as error:
        raise UsageError(f"cannot read the plan {path}", facts={"reason": error.strerror}) from error
    hint = "build it again with `adroit build`"
    kind = _TAGS.get(data[:4])
    if kind is None or len(data) < _HEADER:
        raise UnsupportedModel(f"{path} is not a TensorRT plan", facts={"first bytes": data[:8].hex(" ")}, hint=hint)
    (layout,) = struct.unpack_from("<I", data, 4)
    if layout != 0:
        raise UnsupportedModel(f"{path} has a plan header of version {layout}; 0 is known here", hint=hint)
    version = struct.unpack_from("4B", data, 24)
    if kind == "tensorrt":
        return PlanHeader(kind, version)
    stated, mask = struct.unpack_from("<Q", data, 16)[0], struct.unpack_from("<I", data, 32)[0]
    if stated != size:
        raise UnsupportedModel(f"{path} is cut short: it has {size} bytes of {stated}", hint=hint)
    compiled = tuple(cc for bit, cc in enumerate(_CAPABILITIES) if mask >> bit & 1)
    return PlanHeader(kind, version, compiled)
