"""Networks whose gates do not look at the image: for tests and for measuring a chosen route."""

from __future__ import annotations

import torch

from adroit.errors import UsageError
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.route import Route

# Far from any threshold: tanh(2) = 0.964.
_LOGIT = 2.0


def force_gates(network: DynamicRouting, route: Route) -> None:
    """Sets every gate to a constant: 0.964 where the route is open, 0 elsewhere. Overwrites weights.

    The network then takes `route` for any image, by its gates, in every form of deployment.

    Raises:
        UsageError: a route of another space, or a network without gates.
    """
    if route.space != network.space or network.gate == "none":
        raise UsageError(f"cannot force a route of {route.space} on a network of {network.space}, gate {network.gate}")
    for at in network.space.nodes:
        weight, bias = network.backbone.node(at).gate_conv_beta.last()
        signs = torch.tensor([1.0 if is_open else -1.0 for is_open in route.open[network.space.gates(at)]])
        with torch.no_grad():
            weight.zero_()
            bias.copy_(signs * _LOGIT)
