"""The queue of one model: bounded in depth, bytes and time; batches are taken from it.

A request leaves the queue at the moment its answer is settled, whatever settles it: its turn, a client
that went away (the future is cancelled), or its deadline. So nothing that nobody waits for is computed,
and it takes no place in the queue either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from adroit.deploy.serve.engine.load import Governor
from adroit.deploy.serve.job import Job
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.refusal import Reason, Refusal


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
