"""What a routed network costs for the images at hand, and how much of what it skips it saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deploy.entry import Entry
from models.operators.counts import OperationCounts
from models.routing.cost import Gate, cost_table
from models.routing.route import Route
from models.routing.space import RoutingSpace

if TYPE_CHECKING:  # serving uses this module, and has no use for ONNX's tools
    from deploy.profile.counts import LayerCounts


def routing_space(entry: Entry) -> RoutingSpace:
    """Of an entry whose info has `routing`."""
    assert entry.info.routing is not None
    return RoutingSpace(entry.info.routing["depth"], entry.info.routing["width"])


def executed_route(entry: Entry, gates: NDArray[np.floating] | None) -> Route:
    """The paths that the deployment computes for a batch.

    Args:
        gates: [N,paths], the deployment's output; None for a network without gates.
    """
    assert entry.info.routing is not None
    space = routing_space(entry)
    if entry.info.routing["form"] == "if" and gates is not None:
        # A path is computed for the whole batch where any sample needs it.
        return Route.union([Route.from_gates(space, sample) for sample in gates])
    baked = entry.info.routing["route"]
    return Route.from_json(baked) if baked else Route.all_open(space)


def count_route(entry: Entry, route: Route, batch: int, size: tuple[int, int]) -> list[LayerCounts]:
    """Operations of `batch` images of `size` along `route`, part by part, in the tool's own columns."""
    assert entry.info.routing is not None
    classes = entry.info.outputs[0].shape[1]
    assert isinstance(classes, int)
    baked = entry.info.routing["form"] == "static"
    return route_counts(route, classes, entry.info.routing["gate"], batch, size, baked)


def route_counts(
    route: Route, classes: int, gate: Gate, batch: int, size: tuple[int, int], baked: bool = False
) -> list[LayerCounts]:
    """Operations of `batch` images of `size` along `route`, part by part, in the tool's own columns.

    baked: see CostTable.parts.
    """
    from deploy.profile.counts import LayerCounts

    parts = cost_table(route.space, size, classes, gate).parts(route, baked)
    shape = (batch, 3, *size)
    return [
        LayerCounts(name, "part", shape, sum([counts] * batch, OperationCounts()))
        for name, counts in parts
        if counts.total
    ]


def skip_efficiency(
    milliseconds: float, operations: float, open_milliseconds: float, open_operations: float
) -> float | None:
    """(T_open - T) / (T_open * (1 - F / F_open)): 1 where every operation saved saved its time; None if none was.

    T_open and F_open are those of the static network with every path open.
    """
    saved = 1.0 - operations / open_operations
    return (open_milliseconds - milliseconds) / (open_milliseconds * saved) if saved > 1e-9 else None


def efficiencies(
    entries: Sequence[Entry], milliseconds: Sequence[float], operations: Sequence[int]
) -> list[float | None]:
    """Skip efficiency of each deployment against the all-open static one of its kind, where that is among them."""
    found: list[float | None] = []
    for entry, time, count in zip(entries, milliseconds, operations, strict=True):
        base = next((i for i, other in enumerate(entries) if _is_open_twin(other, entry)), None)
        is_base = base is not None and entries[base] is entry
        found.append(
            None if base is None or is_base else skip_efficiency(time, count, milliseconds[base], operations[base])
        )
    return found


def _is_open_twin(other: Entry, entry: Entry) -> bool:
    mine, theirs = entry.info.routing, other.info.routing
    if mine is None or theirs is None:
        return False
    same = all(mine[key] == theirs[key] for key in ("gate", "depth", "width"))
    return same and theirs["form"] == "static" and theirs["route"] is None
