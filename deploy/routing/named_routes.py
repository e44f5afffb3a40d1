"""Routes by name or from a file, and the common route of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adroit import files
from adroit.errors import UsageError
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace
from adroit.models.routing.topologies import TOPOLOGIES, topology

# The paper gives no share; ours takes the paths that most images use.
COMMON_SHARE = 0.5


def common_route(routes: Sequence[Route], share: float = COMMON_SHARE) -> Route:
    """Returns the paths that at least `share` of the images open: the Common networks of arXiv 2003.10401.

    Args:
        routes: one an image, of one space; at least one.
        share: above 0, up to 1.
    """
    if not routes or not 0.0 < share <= 1.0:
        raise UsageError(f"a common route needs images, and a share above 0 and up to 1, not {share:g}")
    used = np.array([route.open for route in routes]).mean(0)
    return Route(routes[0].space, tuple(bool(value >= share) for value in used)).normalized()


def named_route(name: str, space: RoutingSpace) -> Route:
    """Returns a route of `space`: "all", "none", one of TOPOLOGIES, or a JSON file as Route.to_json gives it.

    Raises:
        UsageError: no such name or file, or a route of another network.
    """
    if name in ("all", "none"):
        return Route.all_open(space) if name == "all" else Route.none(space)
    if name in TOPOLOGIES:
        return topology(name, space)
    if not Path(name).exists():
        known = ", ".join(("all", "none", *TOPOLOGIES))
        raise UsageError(f"there is no route {name}", facts={"names": known, "or": "a JSON file"})
    route = Route.from_json(files.read_json(Path(name), "the route"))
    if route.space != space:
        raise UsageError(
            f"{name} is a route of another network",
            facts={"the route's": _describe_space(route.space), "this network's": _describe_space(space)},
        )
    return route


def _describe_space(space: RoutingSpace) -> str:
    return f"depth {space.depth}, width {space.width}"
