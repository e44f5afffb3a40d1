"""A checked request that waits for its turn, and the times of the execution that answered it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.serve.protocol.messages import Parameter

Result = tuple[Mapping[str, NDArray[Any]], Mapping[str, Parameter]]


@dataclass(eq=False)
class InferenceJob:
    """A checked request that waits.

    Attributes:
        images: uint8 [N,H,W,3] or the network's own [N,C,H,W].
        thresholds: gate thresholds, [N], for a network with gates.
        deadline: the latest time of its turn on the event loop's clock, in seconds; where load lowers budgets, of
            its answer.
        target: when the answer should come, where load lowers budgets (deploy/serve/engine/load_controller.py).
        seconds: predicted execution time at each level of the budget; empty where load lowers none.
        budget: the limit of an image, ("gflops" or "milliseconds", value), if the request or its class has one.
        arrived: time.perf_counter_ns of the request's arrival.
        answer: the outputs by name, and the parameters that the response carries beside them.
        queue_seconds, execution_seconds: time in the queue, and of the execution; known with the answer.
        leave: takes the job out of the queue; called when it is answered there.
    """

    images: NDArray[Any]
    thresholds: NDArray[np.float32] | None
    deadline: float
    target: float = 0.0
    seconds: Sequence[float] = ()
    budget: tuple[str, float] | None = None
    arrived: int = field(default_factory=time.perf_counter_ns)
    answer: asyncio.Future[Result] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    queue_seconds: float = 0.0
    execution_seconds: float = 0.0
    leave: Callable[[asyncio.Future[Result]], None] | None = None

    @property
    def samples(self) -> int:
        """The number of images."""
        return len(self.images)

    @property
    def kind(self) -> Any:
        """The dtype and shape of an image; jobs of one kind can run together."""
        return self.images.dtype, self.images.shape[1:]


@dataclass(frozen=True)
class ExecutionTimes:
    """The times of one execution, in nanoseconds.

    Attributes:
        started: time.perf_counter_ns of its start.
        runtime_cpu: CPU time of the instance's thread while the runtime, or the preprocessing before it, ran.
    """

    started: int
    compute_input: int
    compute_infer: int
    compute_output: int
    runtime_cpu: int

    @property
    def total(self) -> int:
        """Nanoseconds from the start to the end of the execution."""
        return self.compute_input + self.compute_infer + self.compute_output
