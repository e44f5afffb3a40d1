"""The budget under load: lowered so far that waiting requests are answered in time, before any is refused.

A level is a setting of the model's budget table: level 0 is the network as trained, the last level the floor
that the operator set. All waiting requests run at one level, the most expensive at which each of them is
predicted to be answered with time to spare: more may come, and time that was spent does not come back. A
request that would be late even if all before it ran at the floor is refused when it comes.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.budget_table import BudgetTable
from adroit.deploy.routing.budget.table import choose
from adroit.errors import UsageError

if TYPE_CHECKING:
    from adroit.deploy.serve.job import InferenceJob

# The weight of the last execution in the running means, and the mean deviations that predictions allow for.
_SMOOTHING, _MARGIN = 0.1, 2.0
# The share of a request's time after which its answer should come.
TARGET_SHARE = 0.7


class Demand(Protocol):
    """What a request needs of the runtime."""

    @property
    def seconds(self) -> Sequence[float]:
        """Predicted seconds of execution at each level, never rising with the level."""

    @property
    def deadline(self) -> float:
        """The time at which the answer is due, in seconds."""

    @property
    def target(self) -> float:
        """The time at which the answer should come, so that there is time to spare."""


def choose_level(
    executions: Sequence[Sequence[Demand]], start: float, pace: float = 1.0, newest: Demand | None = None
) -> int | None:
    """Return the most expensive level at which every answer comes at its target; the floor where there is none.

    Args:
        executions: requests that run together, in the order of their executions; at least one.
        start: when the first execution can begin, on the deadlines' clock.
        pace: seconds that a predicted second takes.
        newest: one of the requests, which may still be refused: the result is None where it misses its deadline
            although all run at the floor.
    """
    floor = len(executions[0][0].seconds) - 1

    def ends(level: int) -> Iterator[tuple[Demand, float]]:
        end = start
        for batch in executions:
            end += pace * sum(demand.seconds[level] for demand in batch)
            yield from ((demand, end) for demand in batch)

    # Costs fall from level to level: once all are in time, they stay so.
    in_time = bisect_left(range(floor), True, key=lambda level: all(end <= d.target for d, end in ends(level)))
    late = in_time == floor and any(d is newest and d.deadline < end for d, end in ends(floor))
    return None if late else in_time


class LoadController:
    """Holds the requests of one model to the budget that load leaves them.

    Attributes:
        level: the level of the last execution.

    Args:
        floor_gflops: operations / 1e9 of the mean image; the cheapest setting is the floor of a model that
            cannot be as cheap.
        instances: runtimes that share the work.
    """

    def __init__(self, table: BudgetTable, floor_gflops: float, instances: int = 1) -> None:
        try:
            floor = choose(table, gflops=floor_gflops)
        except UsageError:
            floor = table.settings[-1]
        self._table, self._instances = table, instances
        self._levels = table.settings[: table.settings.index(floor) + 1]
        self._thresholds = np.array([setting.threshold for setting in table.settings], np.float32)
        self._seconds = np.array([setting.milliseconds.mean for setting in table.settings]) / 1000
        self._running: dict[InferenceJob, tuple[float, float]] = {}  # by its first request: start, predicted seconds
        # Seconds that a predicted second takes: the running mean, and the running mean of its absolute deviations.
        self._mean, self._mean_deviation = 1.0, 0.0
        self.level = 0

    @property
    def threshold(self) -> float:
        """The gate threshold to which load holds requests."""
        return self._levels[self.level].threshold

    def seconds(self, thresholds: NDArray[np.float32], size: tuple[int, int]) -> tuple[float, ...]:
        """Predict, by level, the seconds of a request.

        Args:
            thresholds: gate thresholds of its samples, [samples].
            size: (height, width) of the network's input in pixels.
        """
        used = np.maximum(thresholds[:, None], self._thresholds[: len(self._levels)])
        settings = np.searchsorted(self._thresholds, used, "right") - 1
        pixels = size[0] * size[1] / (self._table.size[0] * self._table.size[1])
        return tuple(float(total) for total in pixels * self._seconds[settings].sum(0))

    def admits(self, executions: Sequence[Sequence[InferenceJob]], newest: InferenceJob) -> bool:
        """Tell whether `newest`, one of the waiting requests, may wait. An idle server tries whatever comes."""
        if not self._running and sum(map(len, executions)) == 1:
            return True
        return choose_level(executions, self._start(), self._pace, newest) is not None

    def begin(self, executions: Sequence[Sequence[InferenceJob]]) -> None:
        """Start the first of the executions: raise its requests' thresholds to what the load requires."""
        level = choose_level(executions, self._start(), self._pace)
        assert level is not None
        self.level = level
        batch = executions[0]
        for job in batch:
            assert job.thresholds is not None
            job.thresholds = np.maximum(job.thresholds, np.float32(self.threshold))
        now = asyncio.get_running_loop().time()
        self._running[batch[0]] = now, sum(job.seconds[level] for job in batch)

    def end(self, batch: Sequence[InferenceJob]) -> None:
        """Learn the pace from an execution that ran, or failed."""
        started, predicted = self._running.pop(batch[0])
        # One that was held up, by whatever it was, says little about the next.
        ratio = min((asyncio.get_running_loop().time() - started) / predicted, 2.0 * self._mean)
        self._mean_deviation += _SMOOTHING * (abs(ratio - self._mean) - self._mean_deviation)
        self._mean += _SMOOTHING * (ratio - self._mean)

    @property
    def _pace(self) -> float:
        return (self._mean + _MARGIN * self._mean_deviation) / self._instances

    def _start(self) -> float:
        """Return when the next execution can begin."""
        now = asyncio.get_running_loop().time()
        if len(self._running) < self._instances:
            return now
        ends = (started + self._mean * predicted for started, predicted in self._running.values())
        return max(now, min(ends))
