"""Operations of a routed network along a route, and the share of the skipped ones that saves time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adroit.deploy.deployment.deployment import Deployment
from adroit.models.operators.counts import OperationCounts
from adroit.models.routing.cost import Gate, cost_table
from adroit.models.routing.route import Route
from adroit.models.routing.space import USUAL_STEM, StemShape

if TYPE_CHECKING:  # serving uses this module, and has no use for ONNX's tools
    from adroit.deploy.measure.counts import LayerCounts


def count_route(deployment: Deployment, route: Route, batch: int, size: tuple[int, int]) -> list[LayerCounts]:
    """Counts `batch` images of `size` (height, width) along `route`, part by part, in the tool's own columns."""
    assert deployment.info.routing is not None
    classes = deployment.info.outputs[0].shape[1]
    assert isinstance(classes, int)
    baked = deployment.info.routing.form == "static"
    routing = deployment.info.routing
    return route_counts(route, classes, routing.gate, batch, size, baked, routing.stem_shape)


def route_counts(
    route: Route,
    classes: int,
    gate: Gate,
    batch: int,
    size: tuple[int, int],
    baked: bool = False,
    stem: StemShape = USUAL_STEM,
) -> list[LayerCounts]:
    """Counts `batch` images of `size` (height, width) along `route` of a network with `classes` classes.

    baked: see CostTable.parts. stem: what comes before the routing space.
    """
    from adroit.deploy.measure.counts import LayerCounts

    parts = cost_table(route.space, size, classes, gate, stem=stem).parts(route, baked)
    shape = (batch, 3, *size)
    return [
        LayerCounts(name, "part", shape, sum([counts] * batch, OperationCounts()))
        for name, counts in parts
        if counts.total
    ]


def skip_efficiency(
    milliseconds: float, operations: float, open_milliseconds: float, open_operations: float
) -> float | None:
    """Returns (T_open - T) / (T_open * (1 - F / F_open)), or None where no operation is skipped.

    It is 1 where every skipped operation saves its time. T and F are milliseconds and operations, T_open and F_open
    those of the static network with every path open.
    """
    saved = 1.0 - operations / open_operations
    return (open_milliseconds - milliseconds) / (open_milliseconds * saved) if saved > 1e-9 else None


def efficiencies(
    deployments: Sequence[Deployment], milliseconds: Sequence[float], operations: Sequence[int]
) -> list[float | None]:
    """Returns the skip efficiency of each deployment against the all-open static one of its kind, if that is given."""
    result: list[float | None] = []
    for deployment, time, count in zip(deployments, milliseconds, operations, strict=True):
        base = next((i for i, other in enumerate(deployments) if _is_open_twin(other, deployment)), None)
        is_base = base is not None and deployments[base] is deployment
        result.append(
            None if base is None or is_base else skip_efficiency(time, count, milliseconds[base], operations[base])
        )
    return result


def _is_open_twin(other: Deployment, deployment: Deployment) -> bool:
    mine, theirs = deployment.info.routing, other.info.routing
    if mine is None or theirs is None:
        return False
    same = (mine.gate, mine.depth, mine.width) == (theirs.gate, theirs.depth, theirs.width)
    return same and theirs.form == "static" and theirs.route is None
