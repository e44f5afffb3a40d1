"""A server whose runtime runs only while the test lets it, so that a queue is as long as the test needs."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.runtimes.runtime import Runtime
from tests.deploy.serve.server import ADROIT, Server, running

# Each execution waits for a lock of the file, which the test holds as long as it likes.
CODE = """
from adroit.deploy.serve.engine import instance
from tests.deploy.serve.held import HeldRuntime
open_runtime = instance.open_runtime
instance.open_runtime = lambda deployment, options: HeldRuntime(open_runtime(deployment, options), {path!r})
"""


class HeldRuntime(Runtime):
    """A runtime that runs while nobody holds the lock of a file."""

    name = "held"
    facts: dict[str, object] = {}  # noqa: RUF012  (as the base class has it)

    def __init__(self, runtime: Runtime, path: str) -> None:
        self.inputs, self.outputs = runtime.inputs, runtime.outputs
        self._runtime, self._path = runtime, path

    def _run(self, feeds: Tensors) -> dict[str, np.ndarray]:
        Path(f"{self._path}.running").touch()
        with open(self._path) as file:
            fcntl.flock(file, fcntl.LOCK_SH)
        return self._runtime.run(feeds)


@dataclass
class HeldServer:
    """A server of one model, and the file whose lock holds its runtime."""

    server: Server
    model: str
    lock: Path

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep executions from ending, until the context ends."""
        with open(self.lock) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._mark.unlink(missing_ok=True)
            yield

    @property
    def running(self) -> bool:
        """Whether an execution has begun since `hold`: its request has left the queue."""
        return self._mark.exists()

    @property
    def _mark(self) -> Path:
        return self.lock.with_name(f"{self.lock.name}.running")

    @property
    def waiting(self) -> int:
        """The number of requests in the queue."""
        return int(self.server.metric("adroit_queue_requests"))

    @property
    def executions(self) -> int:
        """The number of executions since the start."""
        return int(self.server.json(f"/v2/models/{self.model}/stats")["model_stats"][0]["execution_count"])


@contextlib.contextmanager
def running_held(folder: Path, deployment: Path, *arguments: object, code: str = ADROIT) -> Iterator[HeldServer]:
    """Run `adroit serve` on one deployment, one image at a time unless `arguments` say otherwise."""
    lock = folder / "lock"
    lock.touch()
    held = CODE.format(path=str(lock)) + code
    with running(folder, deployment, "--batch", 1, *arguments, code=held) as server:
        yield HeldServer(server, deployment.name, lock)
