"""The order for the building process, as JSON in a folder of its own.

That process imports this and builder.py only: nothing that brings PyTorch.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from adroit import files
from adroit.deploy.deployment.records import Record
from adroit.deploy.runtimes.tensorrt.modules import Flavor
from adroit.deploy.runtimes.tensorrt.profiles import Profile
from adroit.validation import convert_values

JOB, MODEL, PLAN, CACHE = "job.json", "model.onnx", "model.plan", "timing.cache"


class CustomNode(Record, frozen=True):
    """A node that a plugin must provide."""

    name: str
    operator: str
    version: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.operator} version {self.version} namespace {self.namespace!r}"


class Job(Record, frozen=True):
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
    custom: tuple[CustomNode, ...]
    library: str | None
    profiles: tuple[Profile, ...]
    compute_capabilities: tuple[int, ...] = ()
    workspace: int | None = None
    version_compatible: bool = False
    strip_weights: bool = False
    optimization_level: int = 3
    timing_cache: bool = False
    parse_only: bool = False
    refit: bool = False

    def write(self, folder: Path) -> None:
        """Writes the job into `folder`; raises UsageError or OutOfResource where it cannot."""
        files.write_json(folder / JOB, msgspec.to_builtins(self))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Reads the job in `folder`; raises UsageError, with the place, where it is damaged."""
        path = folder / JOB
        return convert_values(files.read_json(path, "the build's job"), cls, source=str(path), noun="a build's job")
