"""Collects the route that each image takes through a routed deployment, and its operations.

samples = collect_routes(Deployment.read(path), RuntimeOptions(), read_images("images"), gate_threshold=0.2)
mean = sum(sample.operations.total for sample in samples) / len(samples)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import GATES_OUTPUT
from adroit.deploy.deployment.routed import routing_space
from adroit.deploy.parity.labels import label_map
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet
from adroit.models.metrics.segmentation import mean_cross_entropy
from adroit.models.operators.counts import OperationCounts
from adroit.models.routing.cost import CostTable, Counting, Gate, cost_table
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace, StemShape

Progress = Callable[[int, int], None]
BATCH = 4


@dataclass(frozen=True, eq=False)
class RouteSample:
    """The route of one image through a routed network.

    Attributes:
        image: its name. size: (height, width) of the network's input, padding included.
        gates: [paths] float32 in the order of RoutingSpace.paths, 0 where closed.
        route: the paths whose gate is open.
        operations: of this image alone along `route`, as the `if` form executes it, in the tool's own
            columns. (`masked` and `static` compute their own paths, whatever the gates say.)
        paper: the same by the counting of the dynamic-routing paper (models/routing/cost.py).
        loss: mean cross entropy of its pixels; None without labels, or where they were not requested.
    """

    image: str
    size: tuple[int, int]
    gates: NDArray[np.float32]
    route: Route
    operations: OperationCounts
    paper: OperationCounts
    loss: float | None = None


def collect_routes(
    deployment: Deployment,
    options: RuntimeOptions,
    images: ImageSet,
    gate_threshold: float = 0.0,
    batch: int = BATCH,
    progress: Progress | None = None,
    with_losses: bool = False,
) -> list[RouteSample]:
    """Runs `images` and returns one sample for each, in their order.

    Args:
        deployment: a routed deployment with gates, in any form; a static one has its own paths open at most.
        gate_threshold: paths whose gate is not above it are closed; 0 is the network as trained.
        batch: images a run. Results do not depend on it.
        progress: called with the number of images done, and of all.
        with_losses: also record the loss of each image; `images` must have label maps then.

    Raises:
        UsageError: a network without gates, or images or label maps that it does not take.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    check_gated(deployment)
    samples: list[RouteSample] = []
    with open_runtime(deployment, options) as runtime:
        for where, x in images.batches(deployment.preprocessing, batch):
            outputs = runtime.run(deployment.feeds(x, gate_threshold))
            gates, size = outputs[GATES_OUTPUT], (x.shape[2], x.shape[3])
            batch_samples = route_samples(deployment, images.names[where], gates, size)
            if with_losses:
                logits = outputs[deployment.info.outputs[0].name]
                losses = (_loss(deployment, images, where.start + i, values) for i, values in enumerate(logits))
                batch_samples = [replace(s, loss=loss) for s, loss in zip(batch_samples, losses, strict=True)]
            samples += batch_samples
            if progress:
                progress(where.stop, len(images))
    return samples


def _loss(deployment: Deployment, images: ImageSet, index: int, logits: NDArray[np.float32]) -> float | None:
    """Returns the mean cross entropy of one image; logits: [classes,H,W], of the padded image."""
    steps = deployment.preprocessing
    size = steps.geometry_size(images.size(index))
    labels = label_map(images, index, size, len(logits))
    return mean_cross_entropy(steps.unpadded(logits, size), labels)


def route_samples(
    deployment: Deployment, names: Sequence[str], gates: NDArray[np.floating[Any]], size: tuple[int, int]
) -> list[RouteSample]:
    """Builds the samples of a batch that ran elsewhere.

    Args:
        gates: [N,paths], the deployment's second output, for the images `names`.
        size: (height, width) of the input.
    """
    samples = []
    for name, values in zip(names, gates, strict=True):
        route = Route.from_gates(routing_space(deployment), values)
        own, paper = (deployment_costs(deployment, size, counting).of_route(route) for counting in ("own", "paper"))
        samples.append(RouteSample(name, size, values.astype(np.float32), route, own, paper))
    return samples


def deployment_costs(deployment: Deployment, size: tuple[int, int], counting: Counting = "own") -> CostTable:
    """Returns the cost of every part of the deployed network for an input of `size` (height, width)."""
    assert deployment.info.routing is not None
    classes = deployment.info.outputs[0].shape[1]
    assert isinstance(classes, int)
    routing = deployment.info.routing
    return _costs(routing_space(deployment), size, classes, routing.gate, counting, routing.stem_shape)


@functools.lru_cache(maxsize=64)  # images of one size share a table, which takes longer than a lookup
def _costs(
    space: RoutingSpace, size: tuple[int, int], classes: int, gate: Gate, counting: Counting, stem: StemShape
) -> CostTable:
    return cost_table(space, size, classes, gate, counting, stem)


def check_gated(deployment: Deployment) -> None:
    """Raises UsageError for a deployment whose images all take one route, or none."""
    if deployment.info.routing is None:
        raise UsageError(
            f"{deployment.info.name} has no routing space, so there are no routes",
            hint="give a deployment of a dynamic-routing network",
        )
    if deployment.info.routing.gate == "none":
        raise UsageError(
            f"{deployment.info.name} has no gates: every image takes the same route",
            hint="give a deployment of a network with gates",
        )
