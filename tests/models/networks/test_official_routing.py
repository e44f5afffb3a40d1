"""The published dynamic-routing modules beside ours, with the same weights (see official_modules.py)."""

from __future__ import annotations

import copy

import pytest
import torch

from adroit.models.networks.dynamic_routing.forcing import force_gates
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.space import StemShape
from tests.models.networks.official_modules import official_network
from tests.models.networks.routed import CLOSE, images, route_down_to, routed_network, run

ROUTES = [(deepest, seed, share) for deepest in (1, 2, 3) for seed in range(4) for share in (0.3, 0.6, 0.9)]
DEPTH, WIDTH, CLASSES = 5, 64, 5


@pytest.mark.parametrize("gate", ["normal", "small"])
def test_forced_routes_give_the_published_logits(gate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """36 routes, twelve for each deepest scale, and the one that opens nothing.

    In float32 ours differs from the published module by no more than that one's own error.
    """
    official = official_network(monkeypatch, DEPTH, WIDTH, CLASSES, gate)
    network = routed_network(DEPTH, WIDTH, gate)
    x = images(1)
    assert len(ROUTES) == 36
    for deepest, seed, share in [*ROUTES, (0, 0, 0.6)]:
        route = route_down_to(network, deepest, seed, share)
        force_gates(network, route)
        official.double().load_state_dict(network.state_dict())
        with torch.no_grad():
            expected, rounded = official(x), official.float()(x.float())
        torch.testing.assert_close(run(network, x, route=route)[0], expected, **CLOSE)
        torch.testing.assert_close(run(network, x)[0], expected, **CLOSE)
        ours = run(copy.deepcopy(network).float(), x.float())[0]
        own_error = (rounded.double() - expected).abs().max()
        assert (ours - rounded).abs().max() <= own_error, (deepest, seed, share)


@pytest.mark.parametrize(
    ("gate", "width", "separable_stem"),
    [
        ("normal", WIDTH, True),
        ("small", WIDTH, False),
        ("none", WIDTH, True),
        ("small", 16, True),
        ("normal", 16, False),
    ],
)
def test_free_gates_give_the_published_logits(
    gate: str, width: int, separable_stem: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever INIT_CHANNEL (`width`) is, the published stem has 64 channels; SEPT_STEM makes it separable."""
    official = official_network(monkeypatch, DEPTH, width, CLASSES, gate, separable_stem).double()
    network = routed_network(DEPTH, width, gate, stem=StemShape(WIDTH, separable_stem))
    official.load_state_dict(network.state_dict())
    for x in images(4).split(1):
        with torch.no_grad():
            torch.testing.assert_close(run(network, x)[0], official(x), **CLOSE)


def test_a_published_state_is_ours_name_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    official = official_network(monkeypatch, 16, 64, 19, "small")
    assert list(official.state_dict()) == list(DynamicRouting(16, 64, 19, "small").state_dict())
