"""Measures a latency table: random routes, forced, beside the reference run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.latency_table import LatencyTable, Speed
from adroit.deploy.deployment.routed import executed_route
from adroit.deploy.measure.timing import machine_facts, times_in_turns
from adroit.deploy.routing.latency.forced import ForcedRuntime
from adroit.deploy.routing.latency.speed import reference_run, speed_of
from adroit.deploy.routing.latency.table import fit_parts, random_routes
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions

ROUTES, REPEATS, MINIMUM_ROUNDS = 48, 8, 5


@dataclass(frozen=True)
class TableTimes:
    """The measurement that a table is fitted to.

    Attributes:
        routes: median milliseconds of each route, [ROUTES].
        overhead: time of a run whose gates are forced / time of the same route without.
        speed: of the machine meanwhile.
    """

    routes: NDArray[np.float64]
    overhead: float
    speed: Speed


class TableRuns:
    """The runs that a table is fitted to, in groups that can take turns with others (times_in_turns).

    Attributes:
        free: the deployment as it is.
        forced_calls: runs along forced routes. own_calls: runs of `free`. references: runs for the speed
            (speed.py); a group of their own here as elsewhere, since a run after its like takes some 2 % less.

    Args:
        deployment: with gates, in ONNX Runtime, and with adroit's operators.
        image: [1,C,H,W], preprocessed; what it shows does not matter.

    Raises:
        UnsupportedModel, UsageError, EnvironmentFault: as ForcedRuntime.
    """

    def __init__(self, deployment: Deployment, options: RuntimeOptions, image: NDArray[np.float32]) -> None:
        self._forced, self.free = ForcedRuntime(deployment, options), open_runtime(deployment, options)
        self._deployment, self._size = deployment, (image.shape[2], image.shape[3])
        self._routes = random_routes(self._forced.space, ROUTES)
        taken = executed_route(deployment, self.free.run(deployment.feeds(image))["gates"])
        *along, same = [
            functools.partial(self._forced.run, self._forced.feeds_along(image, route))
            for route in (*self._routes, taken)
        ]
        own = functools.partial(self.free.run, deployment.feeds(image))
        reference = reference_run(self._forced, self._size)
        self.forced_calls: list[Callable[[], object]] = [*along, *[same] * REPEATS]
        self.own_calls: list[Callable[[], object]] = [own] * REPEATS
        self.references: list[Callable[[], object]] = [reference] * REPEATS

    def times(
        self, forced_calls: NDArray[np.float64], own_calls: NDArray[np.float64], references: NDArray[np.float64]
    ) -> TableTimes:
        """Summarizes the milliseconds of the three groups of calls, each [rounds, calls]."""
        along, same = np.split(forced_calls, [ROUTES], axis=1)
        # Forcing gates takes some time of its own, which the same route without it shows.
        overhead = float(np.median(same) / np.median(own_calls))
        return TableTimes(np.median(along, axis=0) / overhead, overhead, speed_of(references))

    def table(self, times: TableTimes) -> LatencyTable:
        """Fits the table to `times`."""
        parts, error = fit_parts(self._routes, times.routes)
        model = self._deployment.info.model.sha256
        return LatencyTable(self._size, parts, error, times.speed, model, machine_facts(), self.free.facts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._forced.close()
        self.free.close()


def measure_latency_table(
    deployment: Deployment, options: RuntimeOptions, image: NDArray[np.float32], seconds: float
) -> LatencyTable:
    """Measures a table for about `seconds`, at least MINIMUM_ROUNDS runs of each route; arguments as TableRuns."""
    with TableRuns(deployment, options, image) as runs:
        groups = [runs.forced_calls, runs.own_calls, runs.references]
        return runs.table(runs.times(*times_in_turns(groups, seconds, MINIMUM_ROUNDS)))
