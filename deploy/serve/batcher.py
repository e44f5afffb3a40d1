"""The queue of one model: bounded in depth, bytes and time; batches are taken from it.

A request leaves the queue at the moment its answer is settled, whatever settles it: its turn, a client
that went away (the future is cancelled), or its deadline. So nothing that nobody waits for is computed,
and it takes no place in the queue either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.serve.load import Governor
from deploy.serve.messages import Parameter
from deploy.serve.options import Limits
from deploy.serve.refusal import Reason, Refusal

Result = tuple[Mapping[str, NDArray[Any]], Mapping[str, Parameter]]


@dataclass(eq=False)
class Job:
    """A checked request that waits.

    Attributes:
        images: uint8 [N,H,W,3] or the network's own [N,C,H,W].
        thresholds: [N], of a network with gates.
        deadline: on the event loop's clock, in seconds: of its turn, and where load lowers budgets, of its answer.
        wanted: when the answer should come, where load lowers budgets (deploy/serve/load.py).
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


class Batcher:
    """First come, first served; those behind the first that have its shape run with it.

    Attributes:
        governor: of a model whose budget is lowered under load, set before it is ready.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.governor: Governor | None = None
        self._waiting: dict[Job, asyncio.TimerHandle] = {}
        self._arrival = asyncio.Event()

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def full(self) -> Refusal | None:
        """What to say where no other can wait."""
        if len(self._waiting) < self._limits.queue_requests:
            return None
        return Refusal(Reason.OVERLOADED, f"{len(self._waiting)} requests wait already; try again later")

    def check_room(self) -> None:
        """Raises Refusal where the queue is full."""
        if refusal := self.full():
            raise refusal

    def submit(self, job: Job) -> None:
        """Puts `job` at the end; its `answer` is settled later. Raises Refusal at once where it cannot be."""
        self.check_room()
        if self.governor and not self.governor.admits(self._executions(job), job):
            text = f"{len(self._waiting)} requests wait, so the answer would be late even at the lowest budget"
            raise Refusal(Reason.SHED, text)
        loop = asyncio.get_running_loop()
        self._waiting[job] = loop.call_at(job.deadline, _expire, job)
        job.leave = lambda _: self._forget(job)
        job.answer.add_done_callback(job.leave)
        self._arrival.set()

    def _forget(self, job: Job) -> None:
        timer = self._waiting.pop(job, None)
        job.leave = None  # else it would keep itself alive
        if timer is not None:
            timer.cancel()

    def _take(self, job: Job) -> None:
        """It runs; what settles its answer from now on is no matter of the queue's."""
        if job.leave is not None:
            job.answer.remove_done_callback(job.leave)
        self._forget(job)

    async def next_batch(self) -> Sequence[Job]:
        """Waits for requests; takes those that run together next, at most `limits.batch` samples."""
        while True:
            while not self._waiting:
                self._arrival.clear()
                await self._arrival.wait()
            await self._wait_for_company(next(iter(self._waiting)))
            if batch := self._mates():
                if self.governor:
                    self.governor.begin(self._executions())
                for job in batch:
                    self._take(job)
                return batch
            # All that waited were settled in this turn of the event loop; they leave the queue in the next.
            await asyncio.sleep(0)

    async def _wait_for_company(self, first: Job) -> None:
        if self._limits.delay_seconds == 0.0:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.delay_seconds - (time.perf_counter_ns() - first.arrived) / 1e9
        while first in self._waiting and sum(j.samples for j in self._mates()) < self._limits.batch:
            left = until - loop.time()
            if left <= 0:
                return
            self._arrival.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrival.wait()
            except TimeoutError:
                return

    def _mates(self) -> list[Job]:
        """The first that waits and those that can run with it, in their order."""
        batch: list[Job] = []
        samples = 0
        for job in self._waiting:
            # Settled in this turn of the event loop; the callback that takes it out comes in the next.
            if job.answer.done() or (batch and job.kind != batch[0].kind):
                continue
            if samples + job.samples > self._limits.batch:
                break
            batch.append(job)
            samples += job.samples
        return batch

    def _executions(self, *more: Job) -> Sequence[Sequence[Job]]:
        """What waits, and `more` behind it, as `_mates` will take them."""
        found: list[list[Job]] = []
        last: dict[Any, list[Job]] = {}
        for job in (*self._waiting, *more):
            if job.answer.done():
                continue
            together = last.get(job.kind)
            if together is None or sum(each.samples for each in together) + job.samples > self._limits.batch:
                found.append([])
                together = last[job.kind] = found[-1]
            together.append(job)
        return found

    def refuse_all(self, refusal: Refusal) -> None:
        """Answers everything that waits."""
        for job in list(self._waiting):
            if not job.answer.done():
                job.answer.set_exception(refusal)


def _expire(job: Job) -> None:
    if not job.answer.done():
        job.answer.set_exception(Refusal(Reason.EXPIRED, "the request's turn did not come in time"))
