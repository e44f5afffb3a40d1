"""Routed networks that are fit to be tested: their statistics are their own and their gates differ."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest
import torch

from adroit.models.networks.dynamic_routing.gate import SoftGate
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.operators.routing_gate import shrink_for_gate
from adroit.models.routing.route import Route
from adroit.models.routing.space import SCALES, Node
from adroit.models.training.precise_batch_norm import recompute_batch_norm_statistics

SIZE = (128, 160)
GATES = pytest.mark.parametrize("gate", ["normal", "small"])
# Another order of additions in float64. A path that is wrongly open or closed changes far more.
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def images(count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> torch.Tensor:
    """[count,3,H,W] float64: smooth patterns of very different strength, so that gates differ by image."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 5, 7, generator=generator, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    strength = torch.logspace(-0.5, 0.7, count, dtype=torch.float64)[torch.randperm(count, generator=generator)]
    return smooth * strength[:, None, None, None]


def routed_network(
    depth: int = 4,
    width: int = 8,
    gate: str = "normal",
    seed: int = 0,
    lean: float = 0.1,
    sharpest: float = 1e6,
    **more: Any,
) -> DynamicRouting:
    """In evaluation, float64, batch-norm statistics run in, and gates that are open for some images only.

    A freshly initialized network must not be tested in evaluation: with untouched statistics its
    gates say nothing about the network in use. The gates' last biases are set so that each gate of a
    live node is closed for some of the images; `lean` above 0 opens more of them. `sharpest` bounds the
    factor that the last weights get for it: where images hardly differ for a gate, a large one would
    make the network answer to rounding.
    """
    network, generator = _prepared(depth, width, gate, seed, lean, sharpest, tuple(sorted(more.items())))
    torch.set_rng_state(generator)  # what a test draws next does not depend on whether the network was there
    return copy.deepcopy(network)


@functools.cache
def _prepared(
    depth: int, width: int, gate: str, seed: int, lean: float, sharpest: float, more: tuple[tuple[str, Any], ...]
) -> tuple[DynamicRouting, torch.Tensor]:
    """The network, and torch's generator as making it leaves it."""
    torch.manual_seed(seed)
    network = DynamicRouting(depth, width, gate=gate, **{"classes": 5, **dict(more)}).double()
    inputs = images(8, seed=seed + 1)
    recompute_batch_norm_statistics(network, [inputs])
    network.eval()
    if gate != "none":
        _center_gates(network, inputs, lean, sharpest)
    return network, torch.get_rng_state()


@torch.no_grad()
def _center_gates(network: DynamicRouting, inputs: torch.Tensor, lean: float, sharpest: float) -> None:
    """Each gate just before it first runs, since the gates before it decide what it sees."""
    random = np.random.default_rng(0)

    def center(gate: SoftGate, seen: tuple[torch.Tensor, ...]) -> None:
        weight, bias = gate.last()
        first, pool, last = gate
        logits = last(pool(first(shrink_for_gate(seen[0]) if gate.shrink == 4 else seen[0]))).flatten(1)
        scale = (0.5 / logits.std(0).clamp_min(1e-6)).clamp_max(sharpest)
        middle = (logits - bias).mul(scale).median(0).values
        weight.mul_(scale[:, None])
        bias.copy_(torch.tensor(random.normal(lean, 0.4, len(bias))) - middle)

    gates = [network.backbone.node(at).gate_conv_beta for at in network.space.nodes]
    handles = [gate.register_forward_pre_hook(center) for gate in gates]
    network(inputs)
    for handle in handles:
        handle.remove()


def mixed_route(network: DynamicRouting, seed: int = 0, share: float = 0.6) -> Route:
    """A random route, paths of unreached nodes closed."""
    random = np.random.default_rng(seed)
    paths = len(network.space.paths)
    return Route(network.space, tuple(bool(v) for v in random.random(paths) < share)).normalized()


def route_down_to(network: DynamicRouting, deepest: int, seed: int = 0, share: float = 0.6) -> Route:
    """A random route that reaches scale `deepest` (0 for 1/4 to 3 for 1/32) of the head, and none below it."""
    space = network.space
    states = [bool(value) for value in np.random.default_rng(seed).random(len(space.paths)) < share]
    for index, path in enumerate(space.paths):
        scale = path.node.scale
        if scale == deepest < SCALES - 1:
            states[index] = False  # an open node would send zeros down
        elif path.kind == "down" and path.node.layer == scale - 1:
            states[index] = True  # the way down at the left edge: once reached, a scale stays so
    route = Route(space, tuple(states)).normalized()
    assert [route.is_live(Node(space.depth - 1, scale)) for scale in range(SCALES)] == [
        scale <= deepest for scale in range(SCALES)
    ]
    return route


def run(network: DynamicRouting, x: torch.Tensor, **more: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and gates."""
    with torch.no_grad():
        result = network(x, with_gates=True, **more)
    assert isinstance(result, tuple)
    return result


def routes_of(network: DynamicRouting, gates: torch.Tensor) -> list[Route]:
    return [Route.from_gates(network.space, sample.numpy()) for sample in gates]
