"""The budget under load: lowered so far that waiting requests are answered in time, before any is refused.

A level is a setting of the model's budget table, 0 the network as trained, the last one the floor that the
operator set. All that wait are held to one level, the dearest at which every one of them is predicted to be
answered with time to spare: more may come, and what was spent is not to be had back. A request that would be
late even if all before it ran at the floor is refused when it comes.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.routing.budget.table import BudgetTable, choose
from adroit.errors import UsageError

if TYPE_CHECKING:
    from adroit.deploy.serve.job import Job

# Of the last execution in what is believed of the machine's pace, and deviations that predictions allow for.
_NEWEST, _DEVIATIONS = 0.1, 2.0
# Of the time that a request has: the share after which its answer is wanted.
WANTED = 0.7


class Demand(Protocol):
    """What a request wants of the runtime.

    Attributes:
        seconds: that it takes at each level, never rising with the level.
        deadline: when its answer is due, in seconds.
        wanted: when the answer should come, so that there is time to spare.
    """

    @property
    def seconds(self) -> Sequence[float]: ...

    @property
    def deadline(self) -> float: ...

    @property
    def wanted(self) -> float: ...


def decide(
    executions: Sequence[Sequence[Demand]], start: float, pace: float = 1.0, newest: Demand | None = None
) -> int | None:
    """The dearest level at which all are answered when wanted; the floor where none is; None to refuse `newest`.

    Args:
        executions: requests that run together, in the order of their executions; at least one.
        start: when the first execution can begin, on the deadlines' clock.
        pace: seconds that a predicted second takes.
        newest: one of them, that may still be refused: it is where it misses its deadline though all run at the
            floor.
    """
    floor = len(executions[0][0].seconds) - 1

    def ends(level: int) -> Iterator[tuple[Demand, float]]:
        end = start
        for together in executions:
            end += pace * sum(demand.seconds[level] for demand in together)
            yield from ((demand, end) for demand in together)

    # Costs fall from level to level: once all are in time, they stay so.
    in_time = bisect_left(range(floor), True, key=lambda level: all(end <= d.wanted for d, end in ends(level)))
    late = in_time == floor and any(d is newest and d.deadline < end for d, end in ends(floor))
    return None if late else in_time


class Governor:
    """Holds the requests of one model to the budget that load leaves them.

    Attributes:
        level: of the last execution.

    Args:
        floor_gflops: operations / 1e9 of the mean image; a model that cannot be as cheap has its cheapest
            setting as the floor.
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
        self._running: dict[Job, tuple[float, float]] = {}  # by its first request: start, predicted seconds
        self._mean, self._deviation = 1.0, 0.0  # of the seconds that a predicted second takes
        self.level = 0

    @property
    def threshold(self) -> float:
        """That load holds requests to."""
        return self._levels[self.level].threshold

    def seconds(self, thresholds: NDArray[np.float32], size: tuple[int, int]) -> tuple[float, ...]:
        """Predicted, by level, of a request with these thresholds, [samples], on inputs of `size`, in pixels."""
        used = np.maximum(thresholds[:, None], self._thresholds[: len(self._levels)])
        settings = np.searchsorted(self._thresholds, used, "right") - 1
        pixels = size[0] * size[1] / (self._table.size[0] * self._table.size[1])
        return tuple(float(total) for total in pixels * self._seconds[settings].sum(0))

    def admits(self, executions: Sequence[Sequence[Job]], newest: Job) -> bool:
        """Whether `newest`, one of them, may wait for its turn. An idle server tries whatever comes."""
        if not self._running and sum(map(len, executions)) == 1:
            return True
        return decide(executions, self._start(), self._pace, newest) is not None

    def begin(self, executions: Sequence[Sequence[Job]]) -> None:
        """The first of them starts now: its requests get the thresholds that the load asks for."""
        level = decide(executions, self._start(), self._pace)
        assert level is not None
        self.level = level
        batch = executions[0]
        for job in batch:
            assert job.thresholds is not None
            job.thresholds = np.maximum(job.thresholds, np.float32(self.threshold))
        now = asyncio.get_running_loop().time()
        self._running[batch[0]] = now, sum(job.seconds[level] for job in batch)

    def end(self, batch: Sequence[Job]) -> None:
        """It ran, or failed: the pace is learned from it."""
        started, predicted = self._running.pop(batch[0])
        # One that was held up, by whatever it was, says little about the next.
        took = min((asyncio.get_running_loop().time() - started) / predicted, 2.0 * self._mean)
        self._deviation += _NEWEST * (abs(took - self._mean) - self._deviation)
        self._mean += _NEWEST * (took - self._mean)

    @property
    def _pace(self) -> float:
        return (self._mean + _DEVIATIONS * self._deviation) / self._instances

    def _start(self) -> float:
        """When the next execution can begin."""
        now = asyncio.get_running_loop().time()
        if len(self._running) < self._instances:
            return now
        ends = (started + self._mean * predicted for started, predicted in self._running.values())
        return max(now, min(ends))
