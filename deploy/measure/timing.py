"""Measures latency: warms up until stable, interleaves what is compared, reports the spread."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.measure.reference import reference_milliseconds

STABLE_RUNS, STABLE_SPREAD, LONGEST_WARM_UP = 50, 0.02, 10.0
MINIMUM_RUNS, BOOTSTRAPS, FIFTHS = 200, 1000, 5
BLOCK, PRECISE, PATIENCE = 4, 0.015, 3.0
# Seconds since any fixed moment; tests give one of their own, so that no machine's speed matters to them.
Clock = Callable[[], float]


@dataclass(frozen=True)
class Latency:
    """The wall time of one run, from ready input to ready output, in milliseconds.

    Attributes:
        median, p90, p99: over all runs.
        low, high: 95 % bootstrap interval of the median.
        spread: as spread_of.
        runs: how many were measured.
        stable: whether the spread of the last warm-up runs fell below 2 %.
    """

    median: float
    p90: float
    p99: float
    low: float
    high: float
    spread: float
    runs: int
    stable: bool


def measure_latency(
    calls: Sequence[Callable[[], object]], seconds: float, clock: Clock = time.perf_counter
) -> list[Latency]:
    """Measures several calls side by side, each MINIMUM_RUNS times or for `seconds`, and at least three times.

    The calls take turns, so that whatever else the machine does affects all of them alike. Slow calls (more than a
    second) stop at `seconds` with fewer runs.

    Args:
        calls: functions without arguments; what they return is dropped.
        seconds: to spend on each call at most, warm-up excluded.
        clock: seconds since any fixed moment.
    """
    stable = [_warm_up(call, seconds, clock) for call in calls]
    samples: list[list[float]] = [[] for _ in calls]
    spent = [0.0] * len(calls)

    def unfinished(index: int) -> bool:
        enough = spent[index] >= seconds or len(samples[index]) >= MINIMUM_RUNS
        return len(samples[index]) < 3 or not enough

    while any(unfinished(i) for i in range(len(calls))):
        for index, call in enumerate(calls):
            if unfinished(index):
                start = clock()
                call()
                duration = clock() - start
                samples[index].append(duration)
                spent[index] += duration
    return [_summary(np.array(s) * 1e3, ok) for s, ok in zip(samples, stable, strict=True)]


def medians_in_turns(
    calls: Sequence[Callable[[], object]], seconds: float, minimum_rounds: int, clock: Clock = time.perf_counter
) -> NDArray[np.float64]:
    """Measures the median milliseconds of each of many calls, [calls]; arguments as times_in_turns."""
    (times,) = times_in_turns([calls], seconds, minimum_rounds, clock)
    return np.asarray(np.median(times, axis=0))


def times_in_turns(
    groups: Sequence[Sequence[Callable[[], object]]],
    seconds: float,
    minimum_rounds: int,
    clock: Clock = time.perf_counter,
) -> list[NDArray[np.float64]]:
    """Measures groups of calls that take turns.

    Every round takes all calls once, in blocks of BLOCK calls of a group, the blocks and the calls in them in another
    order each time: a machine that changes its speed changes it for all of them. The first call of a block runs once
    more before it is measured, since the memory of a session leaves the caches while others run.

    Args:
        groups: the calls of one session each.
        seconds: about how long to measure in all; up to PATIENCE times as long while medians are not yet known within
            PRECISE.
        minimum_rounds: rounds to measure, however long they take; one more warms up.
        clock: seconds since any fixed moment.

    Returns:
        Milliseconds of every run of each group's calls, [rounds, calls].
    """
    random = np.random.default_rng(0)
    rounds: list[list[NDArray[np.float64]]] = [[] for _ in groups]
    begun = clock()
    # The first round warms up.
    while len(rounds[0]) < 1 + minimum_rounds or _goes_on(rounds, (clock() - begun) / max(seconds, 1e-9)):
        for durations, calls in zip(rounds, groups, strict=True):
            durations.append(np.zeros(len(calls)))
        orders = [random.permutation(len(calls)) for calls in groups]
        blocks = [(g, order[i : i + BLOCK]) for g, order in enumerate(orders) for i in range(0, len(order), BLOCK)]
        for at in random.permutation(len(blocks)):
            group, block = blocks[at]
            groups[group][block[0]]()
            for index in block:
                start = clock()
                groups[group][index]()
                rounds[group][-1][index] = clock() - start
    return [np.array(durations[1:]) * 1e3 for durations in rounds]


def _goes_on(rounds: Sequence[Sequence[NDArray[np.float64]]], spent: float) -> bool:
    """Whether another round follows, when the share `spent` of the time is over."""
    if not 1.0 <= spent < PATIENCE:
        return spent < 1.0
    samples = np.hstack([np.array(durations[1:]) for durations in rounds])
    # The error of a median is that of a mean times sqrt(pi / 2), if it is Gaussian.
    errors = 1.25 * samples.std(0) / np.sqrt(len(samples)) / np.median(samples, axis=0)
    return bool(np.median(errors) > PRECISE)


def _warm_up(call: Callable[[], object], seconds: float, clock: Clock) -> bool:
    """Runs until the last STABLE_RUNS vary by less than STABLE_SPREAD, or the time is up."""
    durations: list[float] = []
    end = clock() + min(LONGEST_WARM_UP, seconds)
    while True:
        start = clock()
        call()
        now = clock()
        durations.append(now - start)
        last = durations[-STABLE_RUNS:]
        if len(last) == STABLE_RUNS and np.std(last) < STABLE_SPREAD * np.mean(last):
            return True
        if now > end:
            return False


def _summary(samples: NDArray[np.float64], stable: bool) -> Latency:
    draws = np.random.default_rng(0).choice(samples, (BOOTSTRAPS, len(samples)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    median, p90, p99 = map(float, np.percentile(samples, [50, 90, 99]))
    return Latency(median, p90, p99, float(low), float(high), spread_of(samples), len(samples), stable)


def spread_of(samples: NDArray[np.float64]) -> float:
    """Returns how far the medians of the five fifths of `samples` lie apart, as a share of the median of all.

    samples: [runs], in the order measured.
    """
    fifths = [np.median(part) for part in np.array_split(samples, FIFTHS) if len(part)]
    return float((max(fifths) - min(fifths)) / np.median(samples))


def ranks(latencies: Sequence[Latency]) -> list[int]:
    """Ranks latencies, 1 for the quickest. Those that differ by less than their spreads share a rank.

    A difference counts from the first of a rank on, so that a row of small steps does not become one rank.
    """
    order = sorted(range(len(latencies)), key=lambda index: latencies[index].median)
    result, first = [0] * len(latencies), order[0]
    for place, index in enumerate(order, 1):
        one, other = latencies[first], latencies[index]
        if other.median - one.median > max(one.spread, other.spread) * one.median:
            first = index
        result[index] = result[first] if first != index else place
    return result


def machine_facts() -> dict[str, Any]:
    """Describes the machine, for whoever reads a measurement: CPU, cores, load, speed, system, Python."""
    model = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpu_info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "reference_ms": round(reference_milliseconds(), 4),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
