"""The routing space of a deployment, and the routes that its gates tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace

if TYPE_CHECKING:  # serving uses this module, and has no use for ONNX's tools
    pass


def routing_space(deployment: Deployment) -> RoutingSpace:
    """Of a deployment whose info has `routing`."""
    assert deployment.info.routing is not None
    return RoutingSpace(deployment.info.routing["depth"], deployment.info.routing["width"])


def executed_route(deployment: Deployment, gates: NDArray[np.floating] | None) -> Route:
    """The paths that the deployment computes for a batch.

    Args:
        gates: [N,paths], the deployment's output; None for a network without gates.
    """
    assert deployment.info.routing is not None
    space = routing_space(deployment)
    if deployment.info.routing["form"] == "if" and gates is not None:
        # A path is computed for the whole batch where any sample needs it.
        return Route.union([Route.from_gates(space, sample) for sample in gates])
    baked = deployment.info.routing["route"]
    return Route.from_json(baked) if baked else Route.all_open(space)
