"""The queue of one model: bounded in requests and time; batches are taken from it.

A request leaves the queue at the moment its answer is settled, whatever settles it: its turn, a client that
went away (the future is cancelled), or its deadline. So what nobody waits for is not computed, and takes no
place in the queue either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from adroit.deploy.serve.engine.load_controller import LoadController
from adroit.deploy.serve.job import InferenceJob
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.refusal import Reason, Refusal


class Batcher:
    """The queue of one model: first come, first served; those behind the first that have its shape run with it.

    Attributes:
        load_controller: lowers budgets under load; set before the model is ready, None for one without a floor.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.load_controller: LoadController | None = None
        self._waiting: dict[InferenceJob, asyncio.TimerHandle] = {}
        self._arrival = asyncio.Event()

    def __len__(self) -> int:
        """Return the number of requests that wait."""
        return len(self._waiting)

    def full(self) -> Refusal | None:
        """Return the refusal of a further request where the queue is full."""
        if len(self._waiting) < self._limits.queue_requests:
            return None
        return Refusal(Reason.OVERLOADED, f"{len(self._waiting)} requests wait already; try again later")

    def check_room(self) -> None:
        """Raise Refusal where the queue is full."""
        if refusal := self.full():
            raise refusal

    def submit(self, job: InferenceJob) -> None:
        """Put `job` at the end; its `answer` is settled later. Raises Refusal at once where it cannot be."""
        self.check_room()
        if self.load_controller and not self.load_controller.admits(self._executions(job), job):
            text = f"{len(self._waiting)} requests wait, so the answer would be late even at the lowest budget"
            raise Refusal(Reason.SHED, text)
        loop = asyncio.get_running_loop()
        self._waiting[job] = loop.call_at(job.deadline, _expire, job)
        job.leave = lambda _: self._forget(job)
        job.answer.add_done_callback(job.leave)
        self._arrival.set()

    def _forget(self, job: InferenceJob) -> None:
        timer = self._waiting.pop(job, None)
        job.leave = None  # else it would keep itself alive
        if timer is not None:
            timer.cancel()

    def _take(self, job: InferenceJob) -> None:
        """Take out a job that runs now; what settles its answer is no longer a matter of the queue."""
        if job.leave is not None:
            job.answer.remove_done_callback(job.leave)
        self._forget(job)

    async def next_batch(self) -> Sequence[InferenceJob]:
        """Wait for requests; take those that run together next, at most `limits.batch` samples."""
        while True:
            while not self._waiting:
                self._arrival.clear()
                await self._arrival.wait()
            await self._wait_for_others(next(iter(self._waiting)))
            if batch := self._first_batch():
                if self.load_controller:
                    self.load_controller.begin(self._executions())
                for job in batch:
                    self._take(job)
                return batch
            # All that waited were settled in this turn of the event loop; they leave the queue in the next.
            await asyncio.sleep(0)

    async def _wait_for_others(self, first: InferenceJob) -> None:
        """Wait until a whole batch can run with `first`, or its delay is over."""
        if self._limits.delay_seconds == 0.0:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limits.delay_seconds - (time.perf_counter_ns() - first.arrived) / 1e9
        while first in self._waiting and sum(job.samples for job in self._first_batch()) < self._limits.batch:
            remaining = end - loop.time()
            if remaining <= 0:
                return
            self._arrival.clear()
            try:
                async with asyncio.timeout(remaining):
                    await self._arrival.wait()
            except TimeoutError:
                return

    def _first_batch(self) -> list[InferenceJob]:
        """Return the first that waits and those that can run with it, in their order."""
        batch: list[InferenceJob] = []
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

    def _executions(self, *more: InferenceJob) -> Sequence[Sequence[InferenceJob]]:
        """Return the batches of what waits, and of `more` behind it, as `_first_batch` will take them."""
        batches: list[list[InferenceJob]] = []
        last: dict[Any, list[InferenceJob]] = {}
        for job in (*self._waiting, *more):
            if job.answer.done():
                continue
            batch = last.get(job.kind)
            if batch is None or sum(each.samples for each in batch) + job.samples > self._limits.batch:
                batches.append([])
                batch = last[job.kind] = batches[-1]
            batch.append(job)
        return batches

    def refuse_all(self, refusal: Refusal) -> None:
        """Answer everything that waits with `refusal`."""
        for job in list(self._waiting):
            if not job.answer.done():
                job.answer.set_exception(refusal)


def _expire(job: InferenceJob) -> None:
    if not job.answer.done():
        job.answer.set_exception(Refusal(Reason.EXPIRED, "the request's turn did not come in time"))
