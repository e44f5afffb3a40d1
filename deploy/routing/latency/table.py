"""A latency table: the milliseconds of each part of a routed network, which predict those of any route.

A run's time is the sum of the parts that its route runs, and nodes of one scale have maps of one
shape. So random routes are forced and measured (deploy/routing/latency/table_runs.py), and the parts' times are
fitted to them (least squares of the relative errors, no time below 0). Images play no part in it: every image
is an unseen one. The table holds for the speed that the machine had, which is stored with it; at another
speed its times are scaled by the ratio of the two (deploy/routing/latency/speed.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.latency_table import LatencyTable, Speed, parts_of
from adroit.deploy.deployment.routed import routing_space
from adroit.deploy.measure.timing import machine_facts
from adroit.deploy.routing.latency.speed import MAXIMUM_SCALE
from adroit.errors import UsageError
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace

# Facts of a machine (deploy/measure/timing.py) that like machines share.
SAME_MACHINE = ("cpu", "cores", "system")


def stored_latency_table(
    deployment: Deployment, size: tuple[int, int], runtime: Mapping[str, Any], now: Speed
) -> tuple[LatencyTable | None, str]:
    """Returns the table that `adroit profile` stored, if it holds for a run here; else None and the reason.

    It must be of this model and of inputs of `size` (height, width), measured on a machine like this one at a steady
    speed, less than MAXIMUM_SCALE times from that of `now`, with the same operators, threads and version of the
    runtime: `runtime` is Runtime.facts of the one that runs.

    Raises:
        UsageError: the stored table is of another routing space.
    """
    if deployment.info.latency is None:
        return None, "there is none"
    table, here = deployment.info.latency, machine_facts()
    if set(table.parts) != set(parts_of(Route.none(routing_space(deployment)))):
        raise UsageError(
            f"the table of latencies of {deployment.path} lacks parts of its network",
            hint=f"measure it again: adroit profile {deployment.path} --data IMAGES",
        )
    alike = all(table.machine.get(name) == here[name] for name in SAME_MACHINE)
    same = table.model == deployment.info.model.sha256 and table.size == size and dict(table.runtime) == dict(runtime)
    if not (alike and same):
        return None, "of another machine, runtime, model or size"
    if not table.speed.steady:
        return None, f"measured while the machine's speed changed by {table.speed.spread:.1%}"
    scale = now.milliseconds / table.speed.milliseconds
    if not 1 / MAXIMUM_SCALE <= scale <= MAXIMUM_SCALE:
        return None, f"of another speed: the same run takes {scale:.2f} times as long now"
    return table, ""


def random_routes(space: RoutingSpace, count: int) -> list[Route]:
    """Draws routes from all closed to all open; the same ones every time."""
    random = np.random.default_rng(0)
    chances = np.linspace(0.0, 1.0, count)
    return [Route(space, tuple(random.random(len(space.paths)) < chance)).normalized() for chance in chances]


def fit_parts(routes: Sequence[Route], times: NDArray[np.float64]) -> tuple[dict[str, float], float]:
    """Fits the milliseconds of each part to `times` [routes], in milliseconds, by least squares of relative errors.

    Returns:
        Milliseconds by part, none below 0, and the 95th percentile of the relative error.
    """
    from scipy.optimize import nnls

    names = list(parts_of(routes[0]))
    counts = np.array([[parts_of(route)[name] for name in names] for route in routes], np.float64)
    solution, _ = nnls(counts / times[:, None], np.ones(len(routes)))
    errors = np.abs(counts @ solution / times - 1)
    return dict(zip(names, map(float, solution), strict=True)), float(np.percentile(errors, 95))
