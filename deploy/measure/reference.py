"""The machine's speed at the moment: a fixed piece of work, to be timed beside what is measured.

A core that shares its arithmetic units with another tenant runs at three fifths of its speed, for seconds or
minutes, and no counter of the system tells: neither its load, nor stolen time, nor interruptions. Products of
matrices that stay in the first cache do. Of five processes in a row, medians of a routed network lay within 5 %
wherever this work's did, and up to 10 % apart where it changed; divided by it, within 3 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

# Small enough for the first cache, and for BLAS to take one thread.
SIDE, PRODUCTS, RUNS = 48, 100, 40
# Speeds that differ by a smaller share count as one.
ONE_SPEED = 0.05


def reference_work() -> Callable[[], None]:
    """Returns the reference work, PRODUCTS products of matrices: some tenths of a millisecond, on one thread."""
    a = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    out = np.empty_like(a)

    def work() -> None:
        for _ in range(PRODUCTS):
            np.matmul(a, a, out=out)

    return work


def reference_milliseconds(clock: Callable[[], float] = time.perf_counter) -> float:
    """Measures the reference work now: the median of RUNS runs, in milliseconds.

    clock: seconds since any fixed moment.
    """
    work, spent = reference_work(), []
    for _ in range(RUNS):
        start = clock()
        work()
        spent.append(clock() - start)
    return float(np.median(spent) * 1e3)
