"""Measuring latency: warm up until stable, interleave, report the spread."""

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
LEAST_RUNS, BOOTSTRAPS, FIFTHS = 200, 1000, 5
BLOCK, PRECISE, PATIENCE = 4, 0.015, 3.0


@dataclass(frozen=True)
class Latency:
    """Wall time of one run, from ready input to ready output, in milliseconds.

    Attributes:
        median, p90, p99: over all runs.
        low, high: 95 % bootstrap interval of the median.
        spread: how far the medians of the measurement's five fifths lie apart, of the median.
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


def measure_latency(calls: Sequence[Callable[[], object]], seconds: float) -> list[Latency]:
    """Measures several calls side by side, each at least LEAST_RUNS times or for `seconds`.

    The calls take turns, so that whatever else the machine does meets all of them alike. Slow calls
    (more than a second) stop at `seconds` with fewer runs.
    """
    stable = [_warm_up(call, seconds) for call in calls]
    samples: list[list[float]] = [[] for _ in calls]
    spent = [0.0] * len(calls)

    def unfinished(index: int) -> bool:
        enough = spent[index] >= seconds or len(samples[index]) >= LEAST_RUNS
        return len(samples[index]) < 3 or not enough

    while any(unfinished(i) for i in range(len(calls))):
        for index, call in enumerate(calls):
            if unfinished(index):
                start = time.perf_counter()
                call()
                duration = time.perf_counter() - start
                samples[index].append(duration)
                spent[index] += duration
    return [_summary(np.array(s) * 1e3, ok) for s, ok in zip(samples, stable, strict=True)]


def medians_in_turns(calls: Sequence[Callable[[], object]], seconds: float, least_rounds: int) -> NDArray[np.float64]:
    """Median milliseconds of each of many calls, for about `seconds` in all; see times_in_turns."""
    (times,) = times_in_turns([calls], seconds, least_rounds)
    return np.asarray(np.median(times, axis=0))


def times_in_turns(
    groups: Sequence[Sequence[Callable[[], object]]], seconds: float, least_rounds: int
) -> list[NDArray[np.float64]]:
    """Milliseconds of every run of each group's calls, [rounds, calls], for about `seconds` in all.

    And up to PATIENCE times as long where the machine is so restless that medians are not known within PRECISE.
    A group is of the calls of one session. Every round takes all calls once, in blocks of BLOCK calls of a group, the
    blocks and the calls in them in another order each time: a machine that changes its speed changes it for all of
    them. A block's first call is made once more before it is measured, since a session's memory leaves the caches
    while others run.
    """
    random = np.random.default_rng(0)
    rounds: list[list[NDArray[np.float64]]] = [[] for _ in groups]
    begun = time.perf_counter()
    # The first round warms up.
    while len(rounds[0]) < 1 + least_rounds or _goes_on(rounds, (time.perf_counter() - begun) / max(seconds, 1e-9)):
        for found, calls in zip(rounds, groups, strict=True):
            found.append(np.zeros(len(calls)))
        orders = [random.permutation(len(calls)) for calls in groups]
        blocks = [(g, order[i : i + BLOCK]) for g, order in enumerate(orders) for i in range(0, len(order), BLOCK)]
        for at in random.permutation(len(blocks)):
            group, block = blocks[at]
            groups[group][block[0]]()
            for index in block:
                start = time.perf_counter()
                groups[group][index]()
                rounds[group][-1][index] = time.perf_counter() - start
    return [np.array(found[1:]) * 1e3 for found in rounds]


def _goes_on(rounds: Sequence[Sequence[NDArray[np.float64]]], spent: float) -> bool:
    """Whether there is another round, when `spent` of the time is over."""
    if not 1.0 <= spent < PATIENCE:
        return spent < 1.0
    samples = np.hstack([np.array(found[1:]) for found in rounds])
    # Of a median's error: that of a mean times sqrt(pi / 2), if it is Gaussian.
    errors = 1.25 * samples.std(0) / np.sqrt(len(samples)) / np.median(samples, axis=0)
    return bool(np.median(errors) > PRECISE)


def _warm_up(call: Callable[[], object], seconds: float) -> bool:
    """Runs until the last STABLE_RUNS vary by less than STABLE_SPREAD, or the time is up."""
    durations: list[float] = []
    end = time.perf_counter() + min(LONGEST_WARM_UP, seconds)
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
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
    """How far the medians of the five fifths of `samples` [runs], in the order measured, lie apart, of the median."""
    fifths = [np.median(part) for part in np.array_split(samples, FIFTHS) if len(part)]
    return float((max(fifths) - min(fifths)) / np.median(samples))


def ranks(latencies: Sequence[Latency]) -> list[int]:
    """1 for the quickest. Those that differ by less than their spreads have one rank.

    A difference counts from the first of a rank on, so that a row of small steps does not become one rank.
    """
    order = sorted(range(len(latencies)), key=lambda index: latencies[index].median)
    found, first = [0] * len(latencies), order[0]
    for place, index in enumerate(order, 1):
        one, other = latencies[first], latencies[index]
        if other.median - one.median > max(one.spread, other.spread) * one.median:
            first = index
        found[index] = found[first] if first != index else place
    return found


def machine_facts() -> dict[str, Any]:
    """What a measurement must be read with: CPU, cores, load and speed of the machine."""
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
