"""The routing space of a deployment, and the routes that follow from its gates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace


def routing_space(deployment: Deployment) -> RoutingSpace:
    """The space of a deployment whose description has `routing`."""
    assert deployment.info.routing is not None
    return deployment.info.routing.space


def executed_route(deployment: Deployment, gates: NDArray[np.floating] | None) -> Route:
    """The paths that the deployment computes for a batch.

    Args:
        gates: [N,paths], the deployment's output; None for a network without gates.
    """
    assert deployment.info.routing is not None
    space = routing_space(deployment)
    if deployment.info.routing.form == "if" and gates is not None:
        # A path is computed for the whole batch where any sample needs it.
        return Route.union([Route.from_gates(space, sample) for sample in gates])
    return deployment.info.routing.baked_route or Route.all_open(space)
