"""The speed of a deployment at the moment: a fixed run of it, timed beside what is measured.

The fixed work of deploy/measure/reference.py says little about the slowdown of a network: products that stay in the
first cache need no memory, and are too short for another process to interrupt. In four processes, one after the
other on one core of an AMD EPYC (Zen 5) whose memory other tenants use, eight CamVid images took 8.94, 8.89, 7.73 and
8.14 ms, and divided by the time of three candidates for a reference:

    every path forced open        0.822  0.822  0.834  0.831    apart by 1.5 %
    pixels of noise, 7 ms         1.24   1.25   1.29   1.25     4 %
    products in the first cache   32.0   32.2   27.9   29.5     15 %: they took 0.28 ms each time

Beside products on the same core, networks and this reference take 1.9 to 2.4 times as long, and products 0.99; beside
copies on the other core 1.02 to 1.07, 1.04 and 1.02, while copies of 16 MB take 1.20 times as long as alone.

So the reference is the deployment itself with every path forced open, on noise: the same kernels, the same share of
memory, about the same length. Images play no part in it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.latency_table import Speed
from adroit.deploy.measure.timing import spread_of
from adroit.deploy.routing.latency.forced import ForcedRuntime
from adroit.models.routing.route import Route

# Times are not scaled by more, nor by less than 1 / this (benchmarks/latency_prediction.py): what slows a machine
# further shares a core with the network, and interrupts short runs otherwise than long ones.
MAXIMUM_SCALE = 1.5


def speed_of(milliseconds: NDArray[np.float64]) -> Speed:
    """Returns the speed that reference runs show, milliseconds in the order measured, [runs] or [rounds, runs]."""
    return Speed(float(np.median(milliseconds)), spread_of(milliseconds.ravel()))


def reference_run(forced: ForcedRuntime, size: tuple[int, int]) -> Callable[[], object]:
    """Returns the reference run, on noise of `size` (height, width)."""
    channels = len(forced.deployment.preprocessing.mean)
    noise = np.random.default_rng(0).standard_normal((1, channels, *size), np.float32)
    return functools.partial(forced.run, forced.feeds_along(noise, Route.all_open(forced.space)))
