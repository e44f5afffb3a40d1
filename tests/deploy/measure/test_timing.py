"""Latency is measured right: calls of known duration, side by side."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from adroit.deploy.cli.profile import describe
from adroit.deploy.measure.reference import PRODUCTS, reference_milliseconds, reference_work
from adroit.deploy.measure.timing import (
    BLOCK,
    MINIMUM_RUNS,
    Latency,
    machine_facts,
    measure_latency,
    medians_in_turns,
    ranks,
    spread_of,
    times_in_turns,
)
from adroit.deploy.profile.profile import ProfileReport
from adroit.text import readable_count
from tests.deploy.measure.clock import FakeClock


def test_a_call_of_known_duration_is_measured_exactly() -> None:
    clock = FakeClock()
    (result,) = measure_latency(clock.calls(0.004), 0.5, clock)
    for figure in (result.median, result.p90, result.p99, result.low, result.high):
        assert figure == pytest.approx(4.0)
    assert result.runs == 125 and result.stable and result.spread == pytest.approx(0.0, abs=1e-9)


def test_percentiles_and_the_interval_are_those_of_all_runs() -> None:
    clock = FakeClock()
    durations = itertools.cycle([0.001 * (1 + i) for i in range(100)])
    (result,) = measure_latency([lambda: clock.call(next(durations))], 100.0, clock)
    assert result.runs == MINIMUM_RUNS and not result.stable
    assert result.median == pytest.approx(50.5)
    assert result.p90 == pytest.approx(90.1, abs=0.5) and result.p99 == pytest.approx(99.01, abs=0.5)
    assert result.low < result.median < result.high


def test_calls_that_take_turns_meet_the_same_machine() -> None:
    """The machine halves its speed on the way: measured one after the other, the ratio would be off by two."""
    clock = FakeClock(slow_from=2.4)
    short, long = measure_latency(clock.calls(0.002, 0.02), 4.0, clock)
    assert short.spread == pytest.approx(0.5)
    assert long.median / short.median == pytest.approx(10.0)
    assert (short.p99, long.p99) == (pytest.approx(4.0), pytest.approx(40.0))


def test_slow_calls_are_measured_at_least_three_times() -> None:
    clock = FakeClock()
    (result,) = measure_latency(clock.calls(50.0), 0.01, clock)
    assert result.runs == 3 and not result.stable


def test_quick_calls_are_measured_a_fixed_number_of_times() -> None:
    clock = FakeClock()
    (result,) = measure_latency(clock.calls(1e-6), 5.0, clock)
    assert result.runs == MINIMUM_RUNS


def test_the_facts_of_the_machine_include_its_speed() -> None:
    facts = machine_facts()
    assert {"cpu", "cores", "load"} <= set(facts) and facts["reference_ms"] > 0


def test_the_reference_work_is_a_fixed_number_of_products(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(np, "matmul", lambda *arguments, out: clock.call(1e-5))
    reference_work()()
    assert clock.now == pytest.approx(1e-5 * PRODUCTS)
    assert reference_milliseconds(clock) == pytest.approx(0.01 * PRODUCTS)


@pytest.mark.parametrize(("spread", "quiet"), [(0.049, True), (0.051, False)])
def test_a_report_says_where_the_machine_changed_its_speed(spread: float, quiet: bool) -> None:
    report = ProfileReport({"cpu": "any", "reference_ms": 0.3, "reference_spread": spread}, [])
    assert report.quiet == report.to_json()["quiet"] == quiet
    assert ("speed changed" in describe(report, layers=False)) == (not quiet)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (40_370_176, "40.37 M"), (2.5e9, "2.5 G"), (1e16, "1e+04 T")],
)
def test_counts_are_readable(value: float, text: str) -> None:
    assert readable_count(value) == text


def latency(median: float, spread: float) -> Latency:
    return Latency(median, median, median, median, median, spread, 200, True)


def test_differences_below_the_spread_are_not_ranked() -> None:
    steady, close, far = latency(10.0, 0.01), latency(10.3, 0.05), latency(12.0, 0.01)
    assert ranks([far, close, steady]) == [3, 1, 1]
    assert ranks([latency(10.0, 0.01), latency(10.3, 0.01)]) == [1, 2]
    # Steps of 4 % at a spread of 5 %: the third is 8 % behind the first.
    assert ranks([latency(10.0 * 1.04**i, 0.05) for i in range(3)]) == [1, 1, 3]


def test_the_spread_is_that_of_five_fifths() -> None:
    assert spread_of(np.array([2.0] * 80 + [3.0] * 20)) == pytest.approx(0.5)
    # A slow run in every fifth is no change of speed.
    assert spread_of(np.array([2.0, 2.0, 2.0, 9.0] * 25)) == 0.0


def test_calls_in_turns_are_measured_one_by_one() -> None:
    clock = FakeClock()
    medians = medians_in_turns(clock.calls(0.001, 0.01, 0.003), 0.05, 5, clock)
    assert medians == pytest.approx([1.0, 10.0, 3.0])


def test_every_round_takes_every_call_once_in_another_order() -> None:
    clock, order = FakeClock(), []

    def call(index: int) -> None:
        order.append(index)
        clock.call(0.001)

    (times,) = times_in_turns([[functools.partial(call, i) for i in range(BLOCK)]], 0.0, 6, clock)
    assert times.shape == (6, BLOCK)
    # One block a round, whose first call runs once more before it is measured.
    rounds = np.array(order).reshape(7, BLOCK + 1)
    assert (rounds[:, 0] == rounds[:, 1]).all()
    assert (np.sort(rounds[:, 1:], axis=1) == np.arange(BLOCK)).all()
    assert len({tuple(one) for one in rounds[:, 1:]}) > 1
