"""Latency is measured right: calls of known duration, side by side."""

from __future__ import annotations

import time

import pytest

from adroit.deploy.cli.profile import describe
from adroit.deploy.measure.reference import reference_work
from adroit.deploy.measure.timing import Latency, machine_facts, measure_latency, medians_in_turns, ranks
from adroit.deploy.profile.profile import ProfileReport
from adroit.text import readable_count


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_a_call_of_known_duration_is_measured_exactly() -> None:
    (found,) = measure_latency([lambda: busy(0.004)], 0.5)
    # A busy loop cannot end early; on a loaded machine single runs end late, the lowest tenth does not.
    assert 4.0 <= found.low <= found.median <= found.high
    assert found.median <= found.p90 <= found.p99


def test_ratios_of_calls_side_by_side_hold() -> None:
    short, long = measure_latency([lambda: busy(0.002), lambda: busy(0.02)], 0.5)
    # A busy machine lengthens both; that they meet the same machine is what taking turns is for.
    assert long.median > 2 * short.median


def test_slow_calls_are_measured_at_least_three_times() -> None:
    (found,) = measure_latency([lambda: busy(0.05)], 0.01)
    assert found.runs == 3
    assert isinstance(found, Latency)


def test_quick_calls_are_measured_often() -> None:
    (found,) = measure_latency([lambda: None], 5.0)
    assert found.runs >= 200


def test_the_machine_is_told() -> None:
    facts = machine_facts()
    assert {"cpu", "cores", "load"} <= set(facts) and facts["reference_ms"] > 0


def test_more_of_the_reference_work_takes_longer() -> None:
    work = reference_work()
    once, ten_times = measure_latency([work, lambda: [work() for _ in range(10)]], 0.2)
    assert ten_times.median > 3 * once.median


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
    (found,) = measure_latency([lambda: busy(0.002)], 0.2)
    assert 0.0 <= found.spread < found.p99


def test_calls_in_turns_are_measured_one_by_one() -> None:
    calls = [lambda: busy(0.001), lambda: busy(0.01), lambda: busy(0.003)]
    short, long, middle = medians_in_turns(calls, 0.05, 5)
    assert 1.0 <= short < middle < long
