"""What the building process is told, as JSON in a folder of its own.

That process imports this and builder.py only: nothing that brings PyTorch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adroit import files
from adroit.deploy.runtimes.tensorrt.modules import Flavor
from adroit.deploy.runtimes.tensorrt.profiles import Profile

JOB, MODEL, PLAN, CACHE = "job.json", "model.onnx", "model.plan", "timing.cache"


@dataclass(frozen=True)
class CustomNode:
    """A node that a plugin must provide."""

    name: str
    operator: str
    version: str
    namespace: str

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"{self.operator} version {self.version} namespace {self.namespace!r}"


@dataclass(frozen=True)
class Job:
    """One run of a builder on `model.onnx` of the job's folder.

    Attributes:
        flavor: which package builds.
        custom: nodes that plugins must provide; with none, no plugin library is loaded.
        library: the plugin library, where there are custom nodes.
        compute_capabilities: tensorrt-rtx only: what to compile for.
        workspace: bytes of GPU memory that layers may use meanwhile; None leaves it to the builder.
        version_compatible: a plan that later runtimes, and the lean one, run; the library goes into it.
        parse_only: stop before the build.
        refit: put the weights of `model.onnx` into the folder's stripped plan, instead of building one.
    """

    flavor: Flavor
    custom: Sequence[CustomNode]
    library: str | None
    profiles: Sequence[Profile]
    compute_capabilities: Sequence[int] = ()
    workspace: int | None = None
    version_compatible: bool = False
    strip_weights: bool = False
    optimization_level: int = 3
    timing_cache: bool = False
    parse_only: bool = False
    refit: bool = False

    def write(self, folder: Path) -> None:
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["custom"] = [node.to_json() for node in self.custom]
        values["profiles"] = {profile.name: profile.to_json() for profile in self.profiles}
        files.write_json(folder / JOB, values)

    @classmethod
    def read(cls, folder: Path) -> Job:
        values: Mapping[str, Any] = files.read_json(folder / JOB, "the build's job")
        return cls(
            **{
                **values,
                "custom": [CustomNode(**node) for node in values["custom"]],
                "profiles": [Profile.from_json(name, ranges) for name, ranges in values["profiles"].items()],
            }
        )
