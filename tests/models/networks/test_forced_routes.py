"""Routes given to a network, and gates forced to take them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from adroit.errors import UnsupportedModel, UsageError
from adroit.models.networks.dynamic_routing.forcing import force_gates
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, Node, Path, RoutingSpace
from tests.models.networks.official_inference import official_inference
from tests.models.networks.routed import (
    CLOSE,
    GATES,
    images,
    mixed_route,
    route_down_to,
    routed_network,
    routes_of,
    run,
)


@GATES
@pytest.mark.parametrize("seed", range(3))
def test_a_forced_route_equals_gates_that_take_it(gate: str, seed: int) -> None:
    """Gates that take a route by themselves, the same gates under that route, and the oracle."""
    network = routed_network(5, 8, gate)
    route = mixed_route(network, seed)
    force_gates(network, route)
    x = images(2, seed=9)
    free, gates = run(network, x)
    forced, forced_gates = run(network, x, route=route)
    assert routes_of(network, gates) == [route, route]
    torch.testing.assert_close(forced, free, **CLOSE)
    torch.testing.assert_close(forced_gates, gates, **CLOSE)
    expected, _ = official_inference(network.state_dict(), x[:1], 5, gate == "small")
    torch.testing.assert_close(free[:1], expected, **CLOSE)


@pytest.mark.parametrize("deepest", range(4))
def test_the_head_begins_at_the_deepest_scale_that_is_reached(deepest: int) -> None:
    """By gates, by a route, and among images that reach other scales; a scale that is not reached is not decoded."""
    network = routed_network(5, 8)
    route = route_down_to(network, deepest, seed=deepest)
    force_gates(network, route)
    decoded: list[int] = []
    for scale, layer in enumerate(network.sem_seg_head.layer_decoder_list):
        layer.register_forward_hook(lambda *_, scale=scale: decoded.append(scale))
    x = images(2, seed=9)
    expected, _ = official_inference(network.state_dict(), x[:1], 5, small=False)
    forced, _ = run(network, x, route=route)
    assert sorted(decoded) == list(range(deepest + 1))
    free, gates = run(network, x)
    assert routes_of(network, gates) == [route, route]
    beside_a_closed_one, _ = run(network, x, gate_threshold=torch.tensor([0.0, 1.0]))
    for logits in (forced, free, beside_a_closed_one):
        torch.testing.assert_close(logits[:1], expected, **CLOSE)


@pytest.mark.parametrize("seed", range(3))
def test_a_forced_route_is_the_masked_network_with_those_gates_closed(seed: int) -> None:
    network = routed_network(5, 8)
    route = mixed_route(network, seed)
    x = images(4, seed=5)
    forced, forced_gates = run(network, x, route=route)
    masked = routed_network(5, 8)
    for at in masked.space.nodes:  # a closed path's gate can never open, the others stay as they are
        weight, bias = masked.backbone.node(at).gate_conv_beta.last()
        closed = ~torch.tensor(route.open[masked.space.gates(at)])
        with torch.no_grad():
            weight[closed], bias[closed] = 0.0, -1.0
    expected, expected_gates = run(masked, x)
    torch.testing.assert_close(forced, expected, **CLOSE)
    torch.testing.assert_close(forced_gates, expected_gates, **CLOSE)


def test_a_route_computes_only_what_it_reaches() -> None:
    network = routed_network(5, 8, "none")
    route = mixed_route(network, 1, share=0.4)
    computed: list[str] = []
    for name, module in network.backbone.named_modules():
        if name.endswith(("cell_ops", "res_up", "res_down")):
            module.register_forward_hook(lambda *_, name=name: computed.append(name))
    run(network, images(1), route=route)
    expected = set()
    for at in network.space.nodes:
        module = "init_layer" if at == INIT else f"all_cell_list.{at.name}"
        if route.is_open(at):
            expected |= {f"{module}.cell_ops"} | {f"{module}.res_{k}" for k in route.open_kinds(at) if k != "keep"}
    assert len(computed) == len(set(computed)), "a module is called once per forward"
    assert set(computed) == expected and len(expected) < len(network.space.nodes)


def test_an_ungated_network_is_a_gated_one_with_gates_at_1() -> None:
    fixed = routed_network(4, 8, "none")
    route = mixed_route(fixed, 2)
    x = images(2)
    logits, gates = run(fixed, x, route=route)
    assert torch.equal(gates, torch.tensor(route.open, dtype=torch.float64).expand(2, -1))
    gated = DynamicRouting(4, 8, 5, "normal").double().eval()
    gated.load_state_dict(fixed.state_dict(), strict=False)
    force_gates(gated, route)
    for at in gated.space.nodes:
        _, bias = gated.backbone.node(at).gate_conv_beta.last()
        bias.data.mul_(20.0)  # tanh(40) is 1
    torch.testing.assert_close(run(gated, x)[0], logits, **CLOSE)


def test_ungated_weights_other_than_1_are_refused() -> None:
    network = DynamicRouting(3, 8, 5, "none")
    state = network.state_dict()
    state["backbone.init_layer.gate_weights_beta"] = torch.full((1, 2, 1, 1), 0.5)
    with pytest.raises(UnsupportedModel, match="gate_weights_beta"):
        network.load_state_dict(state)


def test_a_route_of_another_space_is_refused() -> None:
    with pytest.raises(UsageError, match="route"):
        routed_network(4, 8)(images(1), route=Route.all_open(RoutingSpace(5, 8)))


def test_the_order_of_gates_is_the_order_of_paths() -> None:
    network = routed_network(4, 8)
    paths = [Path(INIT, "keep"), Path(Node(1, 1), "up"), Path(INIT, "down"), Path(Node(0, 1), "keep")]
    force_gates(network, Route.of_paths(network.space, paths))
    gates = run(network, images(1))[1][0]
    result = [path for path, gate in zip(network.space.paths, gates, strict=True) if gate > 0]
    assert set(result) == set(paths)
    np.testing.assert_allclose(gates[gates > 0], math.tanh(2.0))
