"""Routes: which nodes and paths run, and their forms on disk and in arrays."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from adroit.errors import UsageError
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, Node, Path, RoutingSpace

SPACE = RoutingSpace(4, 8)


def route_of(*paths: tuple[Node, str]) -> Route:
    return Route.of_paths(SPACE, (Path(node, kind) for node, kind in paths))


def test_everything_open_reaches_everything() -> None:
    route = Route.all_open(SPACE)
    assert all(route.is_open(node) for node in SPACE.nodes)
    assert all(route.carries(path) for path in SPACE.paths)
    assert route.normalized() == route


def test_with_nothing_open_only_stride_4_is_live() -> None:
    route = Route.none(SPACE)
    assert [node for node in SPACE.nodes if route.is_live(node)] == [INIT, *(Node(layer, 0) for layer in range(4))]
    assert not any(route.is_open(node) for node in SPACE.nodes)
    assert [path for path in SPACE.paths if route.carries(path)] == [
        Path(INIT, "keep"),
        *(Path(Node(layer, 0), "keep") for layer in range(4)),
    ]


def test_a_path_behind_a_closed_node_reaches_nothing() -> None:
    """Node 0.1 is fed by the init node alone; where that is closed, its open paths do not count."""
    route = route_of((Node(0, 1), "keep"), (Node(0, 1), "down"), (Node(1, 2), "keep"))
    assert not route.is_live(Node(0, 1)) and not route.is_open(Node(0, 1)) and not route.is_live(Node(1, 2))
    assert route.normalized() == Route.none(SPACE)


def test_an_open_node_makes_its_neighbors_live_even_by_a_closed_path() -> None:
    """The official code sends them a tensor of zeros: their gates run, and may open."""
    route = route_of((INIT, "keep"), (Node(0, 1), "keep"))
    assert route.is_live(Node(0, 1)) and route.is_open(Node(0, 1))
    assert not route.carries(Path(INIT, "down"))


def test_a_closed_node_passes_on_by_keep_only() -> None:
    route = route_of((INIT, "down"))
    assert not route.is_open(Node(0, 1)) and route.carries(Path(Node(0, 1), "keep"))
    assert not route.carries(Path(Node(0, 1), "up")) and not route.carries(Path(Node(0, 1), "down"))
    assert all(route.is_live(Node(layer, 1)) for layer in range(4))
    assert not route.is_live(Node(1, 2))


def test_a_partly_closed_node_does_not_pass_its_input() -> None:
    route = route_of((INIT, "down"), (Node(0, 1), "up"))
    assert not route.carries(Path(Node(0, 1), "keep")) and route.carries(Path(Node(0, 1), "up"))


def test_gates_above_0_are_open() -> None:
    gates = np.zeros(len(SPACE.paths), np.float32)
    gates[[0, 1]] = 1e-7, 0.5
    assert Route.from_gates(SPACE, gates) == route_of((INIT, "keep"), (INIT, "down"))
    with pytest.raises(UsageError, match="shape"):
        Route.from_gates(SPACE, gates[None])


def test_the_union_is_what_a_batch_needs() -> None:
    one, other = route_of((INIT, "keep")), route_of((INIT, "down"), (Node(0, 1), "keep"))
    assert Route.union([one, other]) == route_of((INIT, "keep"), (INIT, "down"), (Node(0, 1), "keep"))
    with pytest.raises(UsageError, match="one space"):
        Route.union([one, Route.none(RoutingSpace(5, 8))])


@pytest.mark.parametrize("seed", range(3))
def test_json_round_trip(seed: int) -> None:
    states = np.random.default_rng(seed).random(len(SPACE.paths)) < 0.5
    route = Route(SPACE, tuple(bool(state) for state in states))
    assert Route.from_json(json.loads(json.dumps(route.to_json()))) == route


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "depth"),
        ({"depth": 4, "width": 8, "open": ["init"]}, "not a route"),
        ({"depth": 1, "width": 8, "open": {}}, "at least 3"),
        ({"depth": 4, "width": 8, "open": {"9.0": ["keep"]}}, "no node 9.0"),
        ({"depth": 4, "width": 8, "open": {"init": ["up"]}}, "no path init up"),
        ({"depth": 4, "width": 8, "open": {"3.0": ["down"]}}, "no path 3.0 down"),
    ],
)
def test_damaged_routes_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Route.from_json(values)


def test_a_route_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="paths"):
        Route(SPACE, (True,))


def test_routes_and_costs_need_no_torch() -> None:
    program = "import sys, adroit.models.routing.cost, adroit.models.routing.route; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
