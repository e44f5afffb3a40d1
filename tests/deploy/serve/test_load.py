"""The budget under load: lowered before anything is refused, and never raised for anybody."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from adroit.deploy.deployment.budget_table import BudgetCost, BudgetTable, Setting
from adroit.deploy.serve.engine.batcher import Batcher
from adroit.deploy.serve.engine.load_controller import LoadController, choose_level
from adroit.deploy.serve.job import InferenceJob
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from tests.deploy.serve.clock import run_simulated

# 8, 4, 2 and 1 ms an image; thresholds as exact as float32 holds them.
SETTINGS = [
    Setting(threshold, BudgetCost(cost, 2 * cost), BudgetCost(cost, cost), BudgetCost(8 * cost, 9 * cost), 1.0, 1)
    for threshold, cost in ((0.0, 1.0), (0.25, 0.5), (0.5, 0.25), (1.0, 0.125))
]
TABLE = BudgetTable("a" * 64, 1, (32, 64), {}, tuple(SETTINGS))
SIZE = TABLE.size


@dataclass(frozen=True)
class Want:
    """Seconds by level, the deadline, and how long before it the target is."""

    seconds: Sequence[float]
    deadline: float
    early: float = 0.0

    @property
    def target(self) -> float:
        return self.deadline - self.early


def random_queue(seed: int) -> tuple[list[list[Want]], float]:
    """Return requests in executions, and when the first execution can start."""
    source = random.Random(seed)
    levels = source.randint(1, 5)
    queue = []
    for _ in range(source.randint(1, 8)):
        costs = (sorted((source.uniform(0.1, 4) for _ in range(levels)), reverse=True) for _ in range(3))
        queue.append(
            [Want(seconds, source.uniform(1, 40), source.uniform(0, 5)) for seconds in costs][: source.randint(1, 3)]
        )
    return queue, source.uniform(0, 3)


def ends(queue: list[list[Want]], start: float, level: int) -> list[tuple[Want, float]]:
    """Return when each is answered, computed in another way than in the code under test."""
    totals = [sum(want.seconds[level] for want in together) for together in queue]
    return [(want, start + sum(totals[: i + 1])) for i, together in enumerate(queue) for want in together]


@pytest.mark.parametrize("seed", range(200))
def test_the_most_expensive_level_in_time_is_chosen_and_nothing_refused_while_the_floor_is_in_time(seed: int) -> None:
    queue, start = random_queue(seed)
    newest = queue[-1][-1]
    floor = len(newest.seconds) - 1
    good = [k for k in range(floor + 1) if all(end <= want.target for want, end in ends(queue, start, k))]
    floor_is_in_time = dict((id(want), end) for want, end in ends(queue, start, floor))[id(newest)] <= newest.deadline
    level = choose_level(queue, start, 1.0, newest)
    if good:
        assert level == good[0]
    else:
        assert level == (floor if floor_is_in_time else None)
    assert choose_level(queue, start) == (good[0] if good else floor)  # what waits already is never refused


@pytest.mark.parametrize("seed", range(100))
def test_more_load_never_raises_the_budget(seed: int) -> None:
    queue, start = random_queue(seed)
    level = choose_level(queue, start)
    assert level is not None
    more = [*queue, queue[0]]
    for heavier in (choose_level(more, start), choose_level(queue, start + 1), choose_level(queue, start, 1.5)):
        assert heavier is not None
        assert heavier >= level


def test_the_pace_counts_as_time_does() -> None:
    queue = [[Want((4.0, 2.0, 1.0), 5.0)], [Want((4.0, 2.0, 1.0), 5.0)]]
    assert [choose_level(queue, 0.0, pace) for pace in (0.5, 1.0, 2.0, 9.0)] == [0, 1, 2, 2]


def controlled_queue(floor: float = 0.125, batch: int = 1, instances: int = 1) -> Batcher:
    queue = Batcher(Limits(batch=batch, queue_requests=1000))
    queue.load_controller = LoadController(TABLE, floor, instances)
    return queue


def job(queue: Batcher, seconds: float, *thresholds: float, times: int = 1) -> InferenceJob:
    """Return a request of images that are `times` as large as those of the table."""
    assert queue.load_controller
    chosen = np.array(thresholds or (0.0,), np.float32)
    images = np.zeros((len(chosen), *SIZE, 3), np.uint8)
    now = asyncio.get_running_loop().time()
    result = InferenceJob(images, chosen, now + seconds, now + seconds)
    result.seconds = queue.load_controller.seconds(chosen, (times * SIZE[0], SIZE[1]))
    return result


def submitted(queue: Batcher, jobs: Sequence[InferenceJob]) -> list[InferenceJob]:
    """Submit jobs; return those that the queue took, the others must have been shed."""
    taken = []
    for each in jobs:
        try:
            queue.submit(each)
            taken.append(each)
        except Refusal as refusal:
            assert refusal.reason == Reason.SHED
    return taken


def test_predicted_times_grow_with_pixels_and_stop_at_the_floor() -> None:
    load_controller = LoadController(TABLE, floor_gflops=0.25)
    assert load_controller.seconds(np.zeros(1, np.float32), SIZE) == pytest.approx((0.008, 0.004, 0.002))
    assert load_controller.seconds(np.zeros(2, np.float32), (64, 64)) == pytest.approx((0.032, 0.016, 0.008))
    # One of the samples is cheaper than the floor already, and one between two settings: the more expensive one counts.
    mixed = np.array([1.0, 0.3], np.float32)
    assert load_controller.seconds(mixed, SIZE) == pytest.approx((0.005, 0.005, 0.003))
    assert len(LoadController(TABLE, floor_gflops=0.0001).seconds(mixed, SIZE)) == len(SETTINGS)


@pytest.mark.parametrize(("waiting", "threshold"), [(1, 0.0), (20, 0.25), (40, 0.5), (80, 1.0)])
def test_what_waits_decides_the_threshold(waiting: int, threshold: float) -> None:
    """The deadline is an hour, and images are so large that each takes 240 s at level 0."""

    async def check() -> None:
        queue = controlled_queue()
        jobs = [job(queue, 3600.0, times=30_000) for _ in range(waiting)]
        taken = submitted(queue, jobs)
        assert len(taken) == waiting
        (first,) = await queue.next_batch()
        assert first.thresholds is not None
        assert first.thresholds.tolist() == [threshold]
        assert queue.load_controller is not None
        assert queue.load_controller.threshold == threshold

    run_simulated(check())


def test_requests_are_shed_only_when_the_floor_is_too_slow() -> None:
    async def check() -> None:
        queue = controlled_queue(floor=0.25)  # 60 s each
        taken = submitted(queue, [job(queue, 3600.0, times=30_000) for _ in range(100)])
        assert len(taken) == 60
        late = job(queue, 60.0, times=30_000)
        assert submitted(queue, [late]) == []
        assert not late.answer.done()  # the refusal is raised, nobody waits for an answer

    run_simulated(check())


def test_an_idle_server_tries_what_it_predicts_to_be_late() -> None:
    """Else a table of a slower machine would refuse everything forever."""

    async def check() -> None:
        queue = controlled_queue()
        hopeless = job(queue, 60.0, times=10_000_000)
        assert submitted(queue, [hopeless]) == [hopeless]
        assert submitted(queue, [job(queue, 60.0, times=10_000_000)]) == []

    run_simulated(check())


def test_thresholds_above_the_level_stay_sample_by_sample() -> None:
    async def check() -> None:
        queue = controlled_queue(floor=0.5, batch=3)
        jobs = [job(queue, 0.0, 0.0, 0.3, 1.0), job(queue, 60.0, 0.1)]
        submitted(queue, jobs[:1])
        (first,) = await queue.next_batch()
        assert first.thresholds is not None
        assert first.thresholds.tolist() == [0.25, np.float32(0.3), 1.0]

    run_simulated(check())


def test_the_pace_is_learned_from_what_ran() -> None:
    """A machine half as fast as the one of the table takes half as much before it lowers the budget."""

    async def check() -> None:
        queue = controlled_queue()
        load_controller = queue.load_controller
        assert load_controller is not None
        loop = asyncio.get_running_loop()
        clock = 0.0
        loop.time = lambda: clock  # type: ignore[method-assign]
        for _ in range(100):
            ran = job(queue, 3600.0)
            load_controller.begin([[ran]])
            clock += 0.016
            load_controller.end([ran])
        taken = submitted(queue, [job(queue, 1.0, times=10) for _ in range(100)])
        assert 49 <= len(taken) <= 50  # of 20 ms each at the floor; not quite sure of the pace yet

    run_simulated(check())


@pytest.mark.parametrize("instances", [1, 2])
def test_what_runs_is_waited_for(instances: int) -> None:
    async def check() -> None:
        queue = controlled_queue(instances=instances)
        load_controller = queue.load_controller
        assert load_controller is not None
        clock = 0.0
        asyncio.get_running_loop().time = lambda: clock  # type: ignore[method-assign]
        for _ in range(instances):
            load_controller.begin([[job(queue, 100.0, times=1000)]])  # 8 s
        shed, kept = job(queue, 7.9), job(queue, 8.1)
        assert [load_controller.admits([[each]], each) for each in (shed, kept)] == [False, True]

    run_simulated(check())
