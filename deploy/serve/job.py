"""A checked request that waits for its turn."""

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
class Job:
    """A checked request that waits.

    Attributes:
        images: uint8 [N,H,W,3] or the network's own [N,C,H,W].
        thresholds: [N], of a network with gates.
        deadline: on the event loop's clock, in seconds: of its turn, and where load lowers budgets, of its answer.
        wanted: when the answer should come, where load lowers budgets (deploy/serve/engine/load.py).
        seconds: that it is predicted to take at each level of the budget; empty where load lowers none.
        budget: what it is to be held to, "gflops" or "milliseconds" an image and the value, if anything.
        arrived: nanoseconds of time.perf_counter_ns.
        answer: the outputs by name, and what the response says beside them.
        waited, ran: seconds in the queue, and of the execution that it was part of; known with the answer.
        leave: takes it out of the queue; called when it is answered there.
    """

    images: NDArray[Any]
    thresholds: NDArray[np.float32] | None
    deadline: float
    wanted: float = 0.0
    seconds: Sequence[float] = ()
    budget: tuple[str, float] | None = None
    arrived: int = field(default_factory=time.perf_counter_ns)
    answer: asyncio.Future[Result] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    waited: float = 0.0
    ran: float = 0.0
    leave: Callable[[asyncio.Future[Result]], None] | None = None

    @property
    def samples(self) -> int:
        return len(self.images)

    @property
    def kind(self) -> Any:
        """Those of one kind can run together."""
        return self.images.dtype, self.images.shape[1:]


@dataclass(frozen=True)
class Times:
    """Of one execution, in nanoseconds; `started` is of time.perf_counter_ns.

    `runtime_cpu`: CPU time of the instance's thread while the runtime, or the preprocessing before it, ran.
    """

    started: int
    compute_input: int
    compute_infer: int
    compute_output: int
    runtime_cpu: int

    @property
    def total(self) -> int:
        return self.compute_input + self.compute_infer + self.compute_output
