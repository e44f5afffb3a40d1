"""Predicting the latency of a route: what each part of a routed network takes, measured once.

A run's time is the sum of the parts that its route runs, and nodes of one scale have maps of one
shape. So random routes are forced and measured, and the parts' times are fitted to them (least squares
of the relative errors, no time below 0). Images play no part in it: every image is an unseen one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.entry import Entry
from deploy.profile.forced import ForcedRuntime
from deploy.profile.reference import ONE_SPEED
from deploy.profile.routed import executed_route, routing_space
from deploy.profile.timing import machine_facts, medians_in_turns
from deploy.runtimes.open import RuntimeOptions, open_runtime
from models.errors import UsageError
from models.routing.route import Route
from models.routing.space import RoutingSpace

ROUTES, LEAST_ROUNDS = 96, 5
# Facts of a machine (deploy/profile/timing.py) that two which are alike share.
SAME_MACHINE = ("cpu", "cores", "system")


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of each part, for one image of `size` (height, width) on one machine.

    Attributes:
        parts: "always" (stem, head and what every route pays), and by scale "gate 1", "cell 0",
            "keep 0", "up 1", "down 0", ...: of one node or path there. Gates of scale 0 always run.
        error: relative error of the prediction on the routes measured, 95th percentile.
        model: sha256 of the model. machine, runtime: where and how it was measured.
    """

    size: tuple[int, int]
    parts: Mapping[str, float]
    error: float
    model: str
    machine: Mapping[str, Any]
    runtime: Mapping[str, Any]

    def predict(self, route: Route) -> float:
        """Milliseconds of one image along `route`."""
        return sum(self.parts[part] * count for part, count in parts_of(route).items())

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LatencyTable:
        """Raises UsageError for what `to_json` does not write."""
        try:
            told = dict(values)
            height, width = told.pop("size")
            table = cls((int(height), int(width)), **told)
            if not all(0.0 <= part < float("inf") for part in (*table.parts.values(), table.error)):
                raise ValueError("times are numbers of at least 0")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                "this is not a table of latencies",
                facts={"at": error},
                hint="measure it again: adroit profile ENTRY --data IMAGES",
            ) from error
        return table


def stored_latency_table(entry: Entry, size: tuple[int, int], runtime: Mapping[str, Any]) -> LatencyTable | None:
    """The table that `adroit profile` stored in `entry`, if a run here takes what it says; else None.

    It must be of this model and of inputs of `size` (height, width), and measured on a machine like this one that
    ran as fast as this one does now, with the same operators, threads and version of the runtime: `runtime` is
    Runtime.facts of the one that runs.

    Raises:
        UsageError: the stored table is damaged.
    """
    if entry.info.latency is None:
        return None
    table, here = LatencyTable.from_json(entry.info.latency), machine_facts()
    if set(table.parts) != set(parts_of(Route.none(routing_space(entry)))):
        raise UsageError(
            f"the table of latencies of {entry.path} lacks parts of its network",
            hint=f"measure it again: adroit profile {entry.path} --data IMAGES",
        )
    alike = all(table.machine.get(name) == here[name] for name in SAME_MACHINE)
    speed = table.machine.get("reference_ms", float("inf")) / here["reference_ms"]
    same = table.model == entry.info.model["sha256"] and table.size == size and dict(table.runtime) == dict(runtime)
    return table if alike and same and abs(speed - 1) <= ONE_SPEED else None


def parts_of(route: Route) -> dict[str, int]:
    """How often each part runs along `route`; every part of the space is there."""
    space = route.space
    counts = Counter({"always": 1})
    for path in space.paths:
        node = path.node
        counts[f"cell {node.scale}"] += 0
        counts[f"{path.kind} {node.scale}"] += route.is_open(node) and path.kind in route.open_kinds(node)
    for node in space.nodes:
        counts[f"cell {node.scale}"] += route.is_open(node)
        if node.scale:
            counts[f"gate {node.scale}"] += route.is_live(node)
    return dict(counts)


def random_routes(space: RoutingSpace, count: int) -> list[Route]:
    """From nearly all closed to nearly all open, the extremes among them; the same ones every time."""
    random = np.random.default_rng(0)
    chances = np.linspace(0.0, 1.0, count)
    return [Route(space, tuple(random.random(len(space.paths)) < chance)).normalised() for chance in chances]


def measure_latency_table(
    entry: Entry, options: RuntimeOptions, image: NDArray[np.float32], seconds: float
) -> LatencyTable:
    """Measures ROUTES routes in turns, for about `seconds`, and at least LEAST_ROUNDS runs of each.

    Args:
        entry: with gates, in ONNX Runtime, and with adroit's operators.
        image: [1,C,H,W], preprocessed; what it shows does not matter.

    Raises:
        UnsupportedModel, UsageError, EnvironmentFault: as ForcedRuntime.
    """
    with ForcedRuntime(entry, options) as forced, open_runtime(entry, options) as free:
        taken = executed_route(entry, free.run(entry.feeds(image))["gates"])
        routes = [*random_routes(forced.space, ROUTES), taken]
        feeds = [forced.feeds_along(image, route) for route in routes]
        calls = [functools.partial(forced.run, fed) for fed in feeds]
        calls.append(functools.partial(free.run, entry.feeds(image)))
        times = medians_in_turns(calls, seconds, LEAST_ROUNDS)
        # Telling gates costs some time of its own, which the same route without it shows.
        times = times[:-1] * (times[-1] / times[-2])
        parts, error = fit_parts(routes, times)
        size = (image.shape[2], image.shape[3])
        return LatencyTable(size, parts, error, entry.info.model["sha256"], machine_facts(), free.facts)


def fit_parts(routes: Sequence[Route], times: NDArray[np.float64]) -> tuple[dict[str, float], float]:
    """Milliseconds by part, and the 95th percentile of the relative error, from `times` [routes] in milliseconds."""
    from scipy.optimize import nnls

    names = list(parts_of(routes[0]))
    counts = np.array([[parts_of(route)[name] for name in names] for route in routes], np.float64)
    solution, _ = nnls(counts / times[:, None], np.ones(len(routes)))
    errors = np.abs(counts @ solution / times - 1)
    return dict(zip(names, map(float, solution), strict=True)), float(np.percentile(errors, 95))
