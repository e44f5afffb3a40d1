"""Memory that a deployment takes, measured in a process of its own, where nothing else runs."""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.latency.forced import ForcedRuntime
from adroit.deploy.runtimes.onnxruntime_package import import_onnxruntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.routing.route import Route


@dataclass(frozen=True)
class MemoryUse:
    """Resident bytes beyond those of the process without the model.

    Attributes:
        loaded: peak while the session was opened, before any run.
        running: peak of runs with every path open.
    """

    loaded: int
    running: int


def worst_case_memory(deployment: Deployment, options: RuntimeOptions, size: tuple[int, int]) -> MemoryUse:
    """Measures the memory for one image of `size` (height, width) with every path open; errors as ForcedRuntime."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as process:
        return process.submit(_measure, deployment.path, options, size).result()


def _measure(path: Path, options: RuntimeOptions, size: tuple[int, int]) -> MemoryUse:
    deployment = Deployment.read(path)
    import_onnxruntime()  # its memory is not the model's

    before = _peak()
    with ForcedRuntime(deployment, options) as runtime:
        loaded = _peak()
        image = np.zeros((1, len(deployment.preprocessing.mean), *size), np.float32)
        for _ in range(3):
            runtime.run(runtime.feeds_along(image, Route.all_open(runtime.space)))
        return MemoryUse(loaded - before, _peak() - before)


def _peak() -> int:
    """Returns the peak of resident bytes so far. VmHWM excludes those of the parent process, ru_maxrss does not."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
