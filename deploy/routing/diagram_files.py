"""Writes diagrams of routes as files: one for each image, and the usage map of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adroit import files
from adroit.deploy.routing.collect import RouteSample
from adroit.deploy.routing.diagram import Diagram, route_diagram, usage_diagram
from adroit.deploy.routing.named_routes import common_route
from adroit.deploy.routing.statistics.route_statistics import RouteStatistics
from adroit.models.routing.route import Route
from adroit.text import readable_count

USAGE = "usage"


@dataclass(frozen=True)
class Page:
    """A diagram, and the route that `--route` takes, under one name."""

    name: str
    diagram: Diagram
    route: Route


def image_pages(samples: Sequence[RouteSample]) -> list[Page]:
    """Draws one page for each image, named after it; a name that is taken gets a number."""
    pages: list[Page] = []
    taken = {USAGE}
    for sample in samples:
        stem = name = Path(sample.image).stem
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        pages.append(Page(name, sample_diagram(sample), sample.route))
    return pages


def sample_diagram(sample: RouteSample) -> Diagram:
    """Draws the route of one image, with its operations."""
    title = f"{sample.image}: {readable_count(sample.operations.total)} operations"
    return route_diagram(title, sample.route, sample.gates.tolist())


def usage_page(statistics: RouteStatistics) -> Page:
    """Draws how often each path is used; the route of the page is the common one."""
    route = common_route([sample.route for sample in statistics.samples])
    s, title = statistics, f"{statistics.title}: use of each path by {len(statistics.samples)} images"
    return Page(USAGE, usage_diagram(title, s.space, s.path_open, s.node_open), route)


def write_pages(folder: Path, pages: Sequence[Page]) -> list[Path]:
    """Writes `name`.svg, `name`.png and `name`.json for each page; raises UsageError where that fails."""
    written = []
    for page in pages:
        contents = {
            "svg": page.diagram.svg().encode(),
            "png": page.diagram.png(),
            "json": files.json_text(page.route.to_json()).encode(),
        }
        for suffix, content in contents.items():
            path = folder / f"{page.name}.{suffix}"
            files.write_bytes(path, content)
            written.append(path)
    return written
