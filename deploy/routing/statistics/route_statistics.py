"""Statistics of the routes of a data set: cost, use of every node and path, margins, batches."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.collect import RouteSample, deployment_costs
from adroit.deploy.routing.statistics.costs import BatchCost, SizeCost, batch_costs, by_size, loss_correlation
from adroit.errors import UsageError
from adroit.models.routing.route import Route
from adroit.models.routing.space import Path, RoutingSpace

MARGIN_BINS = 20


@dataclass(frozen=True)
class Spread:
    """The distribution of one number over the images."""

    mean: float
    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarizes one number for each image; at least one."""
        return cls(float(np.mean(values)), float(min(values)), float(np.median(values)), float(max(values)))


@dataclass(frozen=True)
class RouteShare:
    """A route that images take, how many and what share; `operations` of one image, at the size of the first."""

    route: Route
    images: int
    share: float
    operations: int


@dataclass(frozen=True)
class Margins:
    """The distances of gates, open or closed ones, from the threshold.

    Attributes:
        minimum: the smallest distance, with `image` and `path` where it is; None where there is no such gate.
        median: of all such gates.
        near: share of them less than 0.05 from the threshold.
        histogram: how many are in each of MARGIN_BINS equal parts of the distances from 0 to 1.
    """

    minimum: float | None
    image: str | None
    path: str | None
    median: float | None
    near: float
    histogram: Sequence[int]


@dataclass(frozen=True)
class RouteStatistics:
    """The routes of a data set at one gate threshold.

    Attributes:
        title: the deployment.
        space: the routing space, whose `nodes` and `paths` give the order of what follows.
        samples: one for each image.
        operations, paper: of one image along its route; paper: by the paper's counting.
        all_open, all_closed: operations with every path open, and with none, at the largest size.
        node_open, node_live: share of the images for which each node computes, and is reached.
        path_open: share of the images for which each path is open. mean_gates: mean gate where it is.
        margins: of the open gates. closed_margins: of the closed gates of nodes that are reached; None
            where their values are unknown (deploy/routing/statistics/margins.py).
        routes: from the most frequent on.
        entropy: of the routes' shares, in bits; 0 where all images take one route.
        batches: the cost in larger batches.
        sizes: the cost by image size.
        loss_correlation: of images' losses and operations (deploy/routing/statistics/costs.py); None without labels.
    """

    title: str
    gate_threshold: float
    space: RoutingSpace
    samples: Sequence[RouteSample]
    operations: Spread
    paper: Spread
    all_open: int
    all_closed: int
    node_open: Sequence[float]
    node_live: Sequence[float]
    path_open: Sequence[float]
    mean_gates: Sequence[float]
    margins: Margins
    closed_margins: Margins | None
    routes: Sequence[RouteShare]
    entropy: float
    batches: Sequence[BatchCost]
    sizes: Sequence[SizeCost]
    loss_correlation: float | None

    def top_share(self, count: int) -> float:
        """Returns the share of the images that take one of the `count` most frequent routes."""
        return sum(route.images for route in self.routes[:count]) / len(self.samples)

    def to_json(self) -> dict[str, Any]:
        """Returns every figure as JSON values; `adroit profile --json` and the report show it."""
        nodes = zip(self.space.nodes, self.node_open, self.node_live, strict=True)
        paths = zip(self.space.paths, self.path_open, self.mean_gates, strict=True)
        places = {share.route: place for place, share in enumerate(self.routes)}
        return {
            "title": self.title,
            "gate_threshold": self.gate_threshold,
            "depth": self.space.depth,
            "width": self.space.width,
            "operations": dataclasses.asdict(self.operations),
            "paper": dataclasses.asdict(self.paper),
            "all_open": self.all_open,
            "all_closed": self.all_closed,
            "entropy_bits": self.entropy,
            "top_routes": {str(count): self.top_share(count) for count in (1, 2, 4, 8, 16)},
            "batches": [dataclasses.asdict(batch) for batch in self.batches],
            "sizes": [dataclasses.asdict(size) for size in self.sizes],
            "loss_correlation": self.loss_correlation,
            "margins": dataclasses.asdict(self.margins),
            "closed_margins": dataclasses.asdict(self.closed_margins) if self.closed_margins else None,
            "nodes": {node.name: {"open": opened, "live": live} for node, opened, live in nodes},
            "paths": [
                {"node": path.node.name, "kind": path.kind, "open": share, "mean_gate": gate}
                for path, share, gate in paths
            ],
            "routes": [
                {
                    "images": share.images,
                    "share": share.share,
                    "operations": share.operations,
                    "route": share.route.to_json(),
                }
                for share in self.routes
            ],
            "images": [
                {
                    "image": sample.image,
                    "size": list(sample.size),
                    "route": places[sample.route],
                    "operations": dataclasses.asdict(sample.operations),
                    "paper": sample.paper.total,
                    "loss": sample.loss,
                }
                for sample in self.samples
            ],
        }


def route_statistics(
    deployment: Deployment,
    samples: Sequence[RouteSample],
    gate_threshold: float = 0.0,
    title: str | None = None,
    gate_values: NDArray[np.float32] | None = None,
) -> RouteStatistics:
    """Computes the statistics of `samples`, collected from `deployment` at `gate_threshold` or the one baked in.

    Args:
        title: the deployment's name if None.
        gate_values: [images,paths], as deploy/routing/statistics/margins.py gives them; for the margins of closed
            gates.

    Raises:
        UsageError: no samples.
    """
    if not samples:
        raise UsageError("there are no images, so there are no routes")
    gate_threshold = deployment.baked_threshold or max(gate_threshold, 0.0)
    space, routes = samples[0].route.space, [sample.route for sample in samples]
    largest = max((sample.size for sample in samples), key=lambda size: size[0] * size[1])
    costs = deployment_costs(deployment, largest)
    opened = np.array([route.open for route in routes])
    gates = np.stack([sample.gates for sample in samples])
    live = np.array([[route.is_live(path.node) for path in space.paths] for route in routes])
    counts = opened.sum(0)
    shares = _route_shares(samples)
    return RouteStatistics(
        title=title or deployment.info.name,
        gate_threshold=gate_threshold,
        space=space,
        samples=samples,
        operations=Spread.of([sample.operations.total for sample in samples]),
        paper=Spread.of([sample.paper.total for sample in samples]),
        all_open=costs.of_route(Route.all_open(space)).total,
        all_closed=costs.of_route(Route.none(space)).total,
        node_open=[float(np.mean([route.is_open(node) for route in routes])) for node in space.nodes],
        node_live=[float(np.mean([route.is_live(node) for route in routes])) for node in space.nodes],
        path_open=opened.mean(0).tolist(),
        mean_gates=np.where(counts > 0, gates.sum(0) / np.maximum(counts, 1), 0.0).tolist(),
        margins=_margins(samples, opened, gates - gate_threshold),
        closed_margins=None if gate_values is None else _margins(samples, live & ~opened, gate_threshold - gate_values),
        routes=shares,
        entropy=-sum(share.share * float(np.log2(share.share)) for share in shares) + 0.0,
        batches=batch_costs(deployment, samples),
        sizes=by_size(samples),
        loss_correlation=loss_correlation(samples),
    )


def path_name(path: Path) -> str:
    """Names a path as tables show it: "3.1 up"."""
    return f"{path.node.name} {path.kind}"


def _route_shares(samples: Sequence[RouteSample]) -> list[RouteShare]:
    first: dict[Route, RouteSample] = {}
    for sample in samples:
        first.setdefault(sample.route, sample)
    counted = Counter(sample.route for sample in samples)
    return [
        RouteShare(route, images, images / len(samples), first[route].operations.total)
        for route, images in counted.most_common()
    ]


def _margins(
    samples: Sequence[RouteSample], chosen: NDArray[np.bool_], distances: NDArray[np.floating[Any]]
) -> Margins:
    """chosen, distances: [images,paths]; which gates, and how far each is from the threshold."""
    values = distances[chosen]
    if not len(values):
        return Margins(None, None, None, None, 0.0, [0] * MARGIN_BINS)
    image, path = divmod(int(np.argmin(np.where(chosen, distances, np.inf))), distances.shape[1])
    return Margins(
        minimum=float(values.min()),
        image=samples[image].image,
        path=path_name(samples[image].route.space.paths[path]),
        median=float(np.median(values)),
        near=float((values < 0.05).mean()),
        histogram=np.histogram(values, MARGIN_BINS, (0.0, 1.0))[0].tolist(),
    )
