"""`adroit routes`: the routes that images take, and how a data set uses every path."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adroit import files
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.collect import Progress, RouteSample, collect_routes
from adroit.deploy.routing.diagram_files import image_pages, usage_page, write_pages
from adroit.deploy.routing.replay import ReplayAgreement, ReplayedImage, replay_deployment
from adroit.deploy.routing.statistics.route_statistics import RouteStatistics, route_statistics
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import ImageSet


@dataclass(frozen=True)
class RoutesResult:
    """Routes of single images and of a data set.

    Attributes:
        samples: of the single images.
        replayed: where a route was given, every image along it, single ones first.
        statistics: of the data set, or None.
        written: diagram and route files.
    """

    samples: Sequence[RouteSample]
    replayed: Sequence[ReplayedImage]
    statistics: RouteStatistics | None
    written: Sequence[Path] = ()

    @property
    def agreement(self) -> ReplayAgreement | None:
        """The agreement of the given route's network with the dynamic one; None without a route."""
        return ReplayAgreement.of(self.replayed) if self.replayed else None

    def to_json(self) -> dict[str, Any]:
        """Returns every figure as JSON values; of replayed images all but their gates."""
        return {
            "images": [_sample_values(sample) for sample in self.samples],
            "replayed": [_replayed_values(replayed) for replayed in self.replayed],
            "usage": self.statistics.to_json() if self.statistics else None,
        }


def route_overview(
    deployment: Deployment,
    options: RuntimeOptions,
    single: ImageSet | None,
    many: ImageSet | None,
    route: str | None = None,
    output: Path | None = None,
    gate_threshold: float = 0.0,
    progress: Callable[[str], Progress] | None = None,
) -> RoutesResult:
    """Runs images through a deployment with gates, and draws their routes.

    Args:
        single: images whose routes are drawn. many: a data set whose use of every path is drawn.
        route: run the images along this route in PyTorch and compare; a name or a file, see named_route.
        output: folder for diagrams (SVG, PNG) and routes (JSON).
        gate_threshold: paths whose gate is not above it are closed.
        progress: called with what is done; what it returns is called with images done and images in all.

    Raises:
        UsageError: no gates, no such route, images that cannot be read, or a folder that cannot be written.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    if output is not None:
        files.check_writable(output / "usage.svg")

    def run(images: ImageSet) -> tuple[list[RouteSample], list[ReplayedImage]]:
        if route is None:
            show = progress("running") if progress else None
            return collect_routes(deployment, options, images, gate_threshold, progress=show), []
        show = progress("replaying") if progress else None
        return replay_deployment(deployment, images, route, gate_threshold, show)

    samples, replayed = run(single) if single is not None else ([], [])
    all_samples, all_replayed = run(many) if many is not None else ([], [])
    statistics = route_statistics(deployment, all_samples, gate_threshold) if all_samples else None
    written: list[Path] = []
    if output is not None:
        written = write_pages(output, image_pages(samples) + ([usage_page(statistics)] if statistics else []))
    return RoutesResult(samples, [*replayed, *all_replayed], statistics, written)


def _sample_values(sample: RouteSample) -> dict[str, Any]:
    return {
        "image": sample.image,
        "size": list(sample.size),
        "operations": dataclasses.asdict(sample.operations),
        "paper": sample.paper.total,
        "route": sample.route.to_json(),
        "gates": sample.gates.tolist(),
    }


def _replayed_values(replayed: ReplayedImage) -> dict[str, Any]:
    values = dataclasses.asdict(replayed)
    del values["gates"]
    return values
