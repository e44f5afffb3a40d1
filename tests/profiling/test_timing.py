"""Latency is measured right: calls of known duration, side by side."""

from __future__ import annotations

import time

import pytest

from deploy.profile.timing import Latency, machine_facts, measure_latency
from deploy.report.html import readable_count


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
    assert {"cpu", "cores", "load"} <= set(machine_facts())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (40_370_176, "40.37 M"), (2.5e9, "2.5 G"), (1e16, "1e+04 T")],
)
def test_counts_are_readable(value: float, text: str) -> None:
    assert readable_count(value) == text
