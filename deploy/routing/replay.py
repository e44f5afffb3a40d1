"""Runs images along a given route, in PyTorch, beside the network that chooses its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.routed import routing_space
from adroit.deploy.routing.collect import BATCH, Progress, RouteSample, check_gated, route_samples
from adroit.deploy.routing.named_routes import named_route
from adroit.models.data.images import ImageSet
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.routing.route import Route

if TYPE_CHECKING:
    from adroit.models.networks.dynamic_routing.network import DynamicRouting


@dataclass(frozen=True, eq=False)
class ReplayedImage:
    """One image along a given route, compared with the dynamic network.

    Attributes:
        image: its name. size: (height, width) of the network's input, padding included.
        gates: [paths] float32, of the run along the route; 0 where closed.
        same_class: share of its pixels (padding left out) with the same most probable class, 0 to 1.
        largest_difference: of any logit there. largest_logit: of the dynamic network, to compare with.
    """

    image: str
    size: tuple[int, int]
    gates: NDArray[np.float32]
    same_class: float
    largest_difference: float
    largest_logit: float


@dataclass(frozen=True)
class ReplayAgreement:
    """The agreement of a fixed route with the dynamic network over all images; fields as in ReplayedImage."""

    images: int
    same_class: float
    largest_difference: float
    largest_logit: float

    @classmethod
    def of(cls, replayed: Sequence[ReplayedImage]) -> ReplayAgreement:
        """Summarizes the images; at least one."""
        return cls(
            len(replayed),
            float(np.mean([r.same_class for r in replayed])),
            max(r.largest_difference for r in replayed),
            max(r.largest_logit for r in replayed),
        )


def network_routes(
    network: DynamicRouting,
    preprocessing: Preprocessing,
    images: ImageSet,
    gate_threshold: float = 0.0,
    progress: Progress | None = None,
) -> list[Route]:
    """Returns the route of each image through a network that is not deployed (else: deploy/routing/collect.py)."""
    routes: list[Route] = []
    run = _runner(network, gate_threshold)
    for _, x in _batches(preprocessing, images, progress):
        routes += [Route.from_gates(network.space, gates) for gates in run(x, None)[1]]
    return routes


def replay(
    network: DynamicRouting,
    preprocessing: Preprocessing,
    images: ImageSet,
    route: Route,
    gate_threshold: float = 0.0,
    progress: Progress | None = None,
) -> list[ReplayedImage]:
    """Runs `images` along `route`: its paths may be open, and weigh by their gates; all others are closed.

    Args:
        network: in evaluation mode, as load_reference returns it.
        gate_threshold: of both runs.

    Raises:
        UsageError: a route of another network, or images that it does not take.
    """
    run = _runner(network, gate_threshold)
    replayed = []
    for where, x in _batches(preprocessing, images, progress):
        (free, _), (held, gates) = run(x, None), run(x, route)
        for index in range(len(x)):
            size = preprocessing.geometry_size(images.size(where.start + index))
            ours, theirs = (preprocessing.unpadded(logits[index], size) for logits in (held, free))
            replayed.append(
                ReplayedImage(
                    images.names[where.start + index],
                    (x.shape[2], x.shape[3]),
                    gates[index],
                    float((ours.argmax(0) == theirs.argmax(0)).mean()),
                    float(np.abs(ours - theirs).max()),
                    float(np.abs(theirs).max()),
                )
            )
    return replayed


def replay_deployment(
    deployment: Deployment, images: ImageSet, name: str, gate_threshold: float = 0.0, progress: Progress | None = None
) -> tuple[list[RouteSample], list[ReplayedImage]]:
    """Replays the network that `deployment` was exported from along the route `name` (see named_route).

    Returns:
        The samples along that route, and the comparison of each image.

    Raises:
        UsageError: a deployment without gates, or whose reference is missing; no such route; as replay.
    """
    from adroit.deploy.runtimes.torch_runtime import load_reference
    from adroit.models.networks.dynamic_routing.network import DynamicRouting

    check_gated(deployment)
    route, network = named_route(name, routing_space(deployment)), load_reference(deployment)
    assert isinstance(network, DynamicRouting)
    replayed = replay(network, deployment.preprocessing, images, route, gate_threshold, progress)
    samples = [route_samples(deployment, [r.image], r.gates[None], r.size)[0] for r in replayed]
    return samples, replayed


Run = Callable[[NDArray[np.float32], Route | None], tuple[NDArray[Any], NDArray[Any]]]


def _runner(network: DynamicRouting, gate_threshold: float) -> Run:
    """Returns a function of input and route to logits and gates; gates are 1 in a network without."""
    import torch

    threshold = torch.tensor([gate_threshold])

    def run(x: NDArray[np.float32], route: Route | None) -> tuple[NDArray[Any], NDArray[Any]]:
        with torch.inference_mode():
            logits, gates = network(torch.from_numpy(x), threshold, route, with_gates=True)
        return logits.numpy(), gates.numpy()

    return run


def _batches(
    preprocessing: Preprocessing, images: ImageSet, progress: Progress | None
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    for where, x in images.batches(preprocessing, BATCH):
        yield where, x
        if progress:
            progress(where.stop, len(images))
