"""Which route each image takes through a routed deployment, and what that route costs.

samples = collect_routes(Entry.read(path), RuntimeOptions(), read_images("images"), gate_threshold=0.2)
mean = sum(sample.operations.total for sample in samples) / len(samples)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.entry import GATES, Entry
from deploy.parity.labels import label_map
from deploy.profile.routed import routing_space
from deploy.runtimes.open import RuntimeOptions, open_runtime
from models.data.images import ImageSet
from models.errors import UsageError
from models.metrics.segmentation import mean_cross_entropy
from models.operators.counts import OperationCounts
from models.routing.cost import CostTable, Counting, Gate, cost_table
from models.routing.route import Route
from models.routing.space import RoutingSpace

Progress = Callable[[int, int], None]
BATCH = 4


@dataclass(frozen=True, eq=False)
class RouteSample:
    """One image's way through a routed network.

    Attributes:
        image: its name. size: (height, width) of the network's input, padding included.
        gates: [paths] float32 in the order of RoutingSpace.paths, 0 where closed.
        route: the paths whose gate is open.
        operations: of this image alone along `route`, as the `if` form executes it, in the tool's own
            columns. (`masked` and `static` compute their own paths, whatever the gates say.)
        paper: the same by the counting of the dynamic-routing paper (models/routing/cost.py).
        loss: mean cross entropy of its pixels; None where it has no labels, or they were not looked at.
    """

    image: str
    size: tuple[int, int]
    gates: NDArray[np.float32]
    route: Route
    operations: OperationCounts
    paper: OperationCounts
    loss: float | None = None


def collect_routes(
    entry: Entry,
    options: RuntimeOptions,
    images: ImageSet,
    gate_threshold: float = 0.0,
    batch: int = BATCH,
    progress: Progress | None = None,
    with_losses: bool = False,
) -> list[RouteSample]:
    """Runs `images` and returns one sample for each, in their order.

    Args:
        entry: a routed deployment with gates, in any form; a static one has its own paths open at most.
        gate_threshold: paths whose gate is not above it are closed; 0 is the network as trained.
        batch: images a run. Results do not depend on it.
        progress: called with the number of images done, and of all.
        with_losses: also tell each image's loss, by the label maps that `images` must have then.

    Raises:
        UsageError: a network without gates, or images or label maps that it does not take.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    check_gated(entry)
    samples: list[RouteSample] = []
    with open_runtime(entry, options) as runtime:
        for where, x in images.batches(entry.info.preprocessing, batch):
            outputs = runtime.run(entry.feeds(x, gate_threshold))
            found = route_samples(entry, images.names[where], outputs[GATES], (x.shape[2], x.shape[3]))
            if with_losses:
                logits = outputs[entry.info.outputs[0].name]
                losses = (_loss(entry, images, where.start + i, values) for i, values in enumerate(logits))
                found = [replace(sample, loss=loss) for sample, loss in zip(found, losses, strict=True)]
            samples += found
            if progress:
                progress(where.stop, len(images))
    return samples


def _loss(entry: Entry, images: ImageSet, index: int, logits: NDArray[np.float32]) -> float | None:
    """logits: [classes,H,W], of the padded image."""
    steps = entry.info.preprocessing
    height, width, _ = steps.geometry(images.load(index)).shape
    labels = label_map(images, index, (height, width), len(logits))
    return mean_cross_entropy(steps.unpadded(logits, (height, width)), labels)


def route_samples(
    entry: Entry, names: Sequence[str], gates: NDArray[np.floating[Any]], size: tuple[int, int]
) -> list[RouteSample]:
    """The samples of a batch that was run elsewhere.

    Args:
        gates: [N,paths], the deployment's second output, for the images `names`.
        size: (height, width) of the input.
    """
    found = []
    for name, values in zip(names, gates, strict=True):
        route = Route.from_gates(routing_space(entry), values)
        own, paper = (entry_costs(entry, size, counting).of_route(route) for counting in ("own", "paper"))
        found.append(RouteSample(name, size, values.astype(np.float32), route, own, paper))
    return found


def entry_costs(entry: Entry, size: tuple[int, int], counting: Counting = "own") -> CostTable:
    """The cost of every part of the deployed network for an input of `size` (height, width)."""
    assert entry.info.routing is not None
    classes = entry.info.outputs[0].shape[1]
    assert isinstance(classes, int)
    return _costs(routing_space(entry), size, classes, entry.info.routing["gate"], counting)


@functools.lru_cache(maxsize=64)  # images of one size share a table; it takes longer than a lookup of all its routes
def _costs(space: RoutingSpace, size: tuple[int, int], classes: int, gate: Gate, counting: Counting) -> CostTable:
    return cost_table(space, size, classes, gate, counting)


def check_gated(entry: Entry) -> None:
    """Raises UsageError for a deployment whose images all take one route, or none."""
    if entry.info.routing is None:
        raise UsageError(
            f"{entry.info.name} has no routing space, so there are no routes",
            hint="give a deployment of a dynamic-routing network",
        )
    if entry.info.routing["gate"] == "none":
        raise UsageError(
            f"{entry.info.name} has no gates: every image takes the same route",
            hint="give a deployment of a network with gates",
        )
