"""One runtime of a model, and the thread that runs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.runtime import Runtime
from adroit.deploy.serve.job import ExecutionTimes, InferenceJob
from adroit.errors import UnsupportedModel

T = TypeVar("T")


@dataclass(frozen=True)
class Execution:
    """The outputs of every job of a batch, in its order, and the times of their execution."""

    outputs: Sequence[Mapping[str, NDArray[Any]]]
    times: ExecutionTimes


class Instance:
    """A runtime that is opened, run and closed in one thread of its own: a GPU's context belongs to a thread."""

    def __init__(self, deployment: Deployment, options: RuntimeOptions) -> None:
        self._deployment, self._options = deployment, options
        self._thread = ThreadPoolExecutor(1, f"run-{deployment.path.name}")
        self._runtime: Runtime | None = None

    def _in_thread(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def open(self) -> None:
        """Load the model, or load it again, and run it once; raises what the runtime raises."""
        await self._in_thread(self._open)

    async def probe(self) -> None:
        """Run a black image of typical size; raises where the runtime does not work."""
        await self._in_thread(self._probe)

    def execute(self, jobs: Sequence[InferenceJob]) -> asyncio.Future[Execution]:
        """Run jobs of one shape together; the future holds the outputs, or what the runtime raised."""
        return self._in_thread(self._execute, jobs)

    async def close(self) -> None:
        """Free the runtime, once what runs has ended."""
        await self._in_thread(self._close)
        self._thread.shutdown(wait=False)

    def _open(self) -> None:
        self._close()
        if self._deployment.info.preprocessing is None:
            raise UnsupportedModel(
                f"{self._deployment.info.name} takes no images, and this server serves networks of images",
                hint="run it by adroit.open in a program, or by Triton, whose config.pbtxt is beside it",
            )
        self._runtime = open_runtime(self._deployment, self._options)
        self._probe()

    def _close(self) -> None:
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None

    def _probe(self) -> None:
        size = self._deployment.input_size
        self._run(np.zeros((1, *size, 3), np.uint8), np.zeros(1, np.float32))

    def _run(self, images: NDArray[Any], thresholds: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
        assert self._runtime is not None
        return self._runtime.run(self._feeds(images, thresholds))

    def _feeds(self, images: NDArray[Any], thresholds: NDArray[np.float32] | None) -> dict[str, NDArray[Any]]:
        names = [spec.name for spec in self._deployment.info.inputs]
        values = self._deployment.preprocessing.values(images) if images.dtype == np.uint8 else images
        return {names[0]: values} | (
            {GATE_THRESHOLD_INPUT: thresholds} if GATE_THRESHOLD_INPUT in names and thresholds is not None else {}
        )

    def _execute(self, jobs: Sequence[InferenceJob]) -> Execution:
        started = time.perf_counter_ns()
        thresholds = [job.thresholds for job in jobs if job.thresholds is not None]
        images = jobs[0].images if len(jobs) == 1 else np.concatenate([job.images for job in jobs])
        cpu = time.thread_time_ns()
        feeds = self._feeds(images, np.concatenate(thresholds) if thresholds else None)
        ready = time.perf_counter_ns()
        assert self._runtime is not None
        outputs = self._runtime.run(feeds)
        done = time.perf_counter_ns()
        del feeds  # to free them is a part of what the network costs
        cpu = time.thread_time_ns() - cpu
        slices, first = [], 0
        for job in jobs:
            slices.append({name: value[first : first + job.samples] for name, value in outputs.items()})
            first += job.samples
        return Execution(
            slices, ExecutionTimes(started, ready - started, done - ready, time.perf_counter_ns() - done, cpu)
        )
