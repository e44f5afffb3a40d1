"""The queue of a model: what runs together, and what never runs."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import numpy as np
import pytest

from adroit.deploy.serve.engine.batcher import Batcher
from adroit.deploy.serve.job import InferenceJob
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from tests.deploy.serve.clock import run_simulated

LIMITS = Limits(batch=4, queue_requests=6)


def job(samples: int = 1, side: int = 8, seconds: float = 60.0, dtype: Any = np.float32) -> InferenceJob:
    deadline = asyncio.get_running_loop().time() + seconds
    return InferenceJob(np.zeros((samples, 1, side, side), dtype), None, deadline)


def queue_of(*jobs: InferenceJob, **changes: Any) -> Batcher:
    queue = Batcher(dataclasses.replace(LIMITS, **changes))
    for each in jobs:
        queue.submit(each)
    return queue


def test_requests_of_one_shape_run_together_up_to_the_batch() -> None:
    async def check() -> None:
        jobs = [job(), job(2), job(), job()]
        queue = queue_of(*jobs)
        assert await queue.next_batch() == jobs[:3]
        assert await queue.next_batch() == jobs[3:]
        assert len(queue) == 0

    run_simulated(check())


def test_other_shapes_and_dtypes_wait_for_their_turn() -> None:
    async def check() -> None:
        jobs = [job(side=8), job(side=16), job(side=8), job(side=8, dtype=np.uint8)]
        queue = queue_of(*jobs)
        assert await queue.next_batch() == [jobs[0], jobs[2]]
        assert await queue.next_batch() == [jobs[1]]
        assert await queue.next_batch() == [jobs[3]]

    run_simulated(check())


def test_a_large_request_is_not_overtaken_by_small_ones_behind_it() -> None:
    async def check() -> None:
        jobs = [job(2), job(3), job(2)]
        queue = queue_of(*jobs)
        assert [await queue.next_batch() for _ in jobs] == [[each] for each in jobs]

    run_simulated(check())


def test_what_was_cancelled_is_not_run_and_takes_no_place() -> None:
    async def check() -> None:
        jobs = [job() for _ in range(6)]
        queue = queue_of(*jobs)
        with pytest.raises(Refusal) as refused:
            queue.submit(job())
        assert refused.value.reason == Reason.OVERLOADED
        for each in jobs[:5]:
            each.answer.cancel()
        # In the same turn of the event loop: the queue does not know yet, and skips them all the same.
        assert await queue.next_batch() == jobs[5:]
        await asyncio.sleep(0)
        assert len(queue) == 0
        queue.submit(job())

    run_simulated(check())


def test_a_queue_whose_requests_were_all_cancelled_waits_for_the_next() -> None:
    async def check() -> None:
        gone, later = job(), job()
        queue = queue_of(gone)
        gone.answer.cancel()
        taking = asyncio.create_task(queue.next_batch())
        await asyncio.sleep(1.0)
        assert not taking.done()
        queue.submit(later)
        assert await taking == [later]

    run_simulated(check())


def test_a_request_whose_turn_does_not_come_is_refused_at_its_deadline() -> None:
    async def check() -> None:
        late, patient = job(seconds=5.0), job()
        queue = queue_of(late, patient)
        with pytest.raises(Refusal) as refused:
            await late.answer
        assert asyncio.get_running_loop().time() == 5.0
        assert refused.value.reason == Reason.EXPIRED
        assert await queue.next_batch() == [patient]

    run_simulated(check())


def test_with_a_delay_a_request_waits_for_others() -> None:
    async def check() -> None:
        first, second = job(), job()
        queue = queue_of(first, delay_seconds=30.0)
        taking = asyncio.create_task(queue.next_batch())
        await asyncio.sleep(1.0)
        assert not taking.done()
        queue.submit(second)
        assert await taking == [first, second]
        # The wait of the first began before the loop, in real time.
        assert 1.0 < asyncio.get_running_loop().time() <= 30.0

    run_simulated(check())


def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    async def check() -> None:
        jobs = [job(2), job(2)]
        queue = queue_of(*jobs, delay_seconds=600.0)
        assert await queue.next_batch() == jobs

    run_simulated(check())


def test_closing_answers_all_that_waits() -> None:
    async def check() -> None:
        jobs = [job(), job()]
        queue = queue_of(*jobs)
        queue.refuse_all(Refusal(Reason.NOT_READY, "stopped"))
        for each in jobs:
            with pytest.raises(Refusal, match="stopped"):
                await each.answer
        await asyncio.sleep(0)
        assert len(queue) == 0

    run_simulated(check())
