"""Draws the figures of a routed network's report, from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from adroit.deploy.routing.diagram import route_diagram, usage_diagram
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace
from adroit.text import readable_count

TOP_ROUTES, BINS = 3, 12


def route_figures(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Draws what the template shows of RouteStatistics.to_json.

    Returns:
        usage: the map of the paths' use, and `top`: the most frequent routes, as inline SVG;
        histogram: (from, to, images) of the operations an image.
    """
    space = RoutingSpace(statistics["depth"], statistics["width"])
    shares = [path["open"] for path in statistics["paths"]]
    nodes = [statistics["nodes"][node.name]["open"] for node in space.nodes]
    top = []
    for place, entry in enumerate(statistics["routes"][:TOP_ROUTES], 1):
        title = f"Route {place}: {entry['images']} images, {readable_count(entry['operations'])} operations"
        top.append(Markup(route_diagram(title, Route.from_json(entry["route"])).svg(inline=True)))
    costs = [sum(image["operations"].values()) for image in statistics["images"]]
    counts, edges = np.histogram(costs, BINS)
    return {
        "usage": Markup(usage_diagram("Use of each path", space, shares, nodes).svg(inline=True)),
        "top": top,
        "histogram": list(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)),
    }
