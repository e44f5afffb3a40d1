"""Classical networks as routes: their shape, and their cost in both countings."""

from __future__ import annotations

import pytest

from adroit.errors import UsageError
from adroit.models.routing.cost import cost_table
from adroit.models.routing.route import Route
from adroit.models.routing.space import SCALES, RoutingSpace
from adroit.models.routing.topologies import TOPOLOGIES, topology

SPACE, FULL = RoutingSpace(16), (1024, 2048)
# Open nodes by scale (init counts for 1/4); up and down paths; then 1e9 operations at 1024 x 2048 with 19
# classes: the paper's counting and our own without gates, the paper's with the normal gates of open nodes.
SHAPES = {
    "fcn-32s-like": ([5, 4, 4, 4], (0, 3), (26.532, 27.866, 30.952)),
    "deeplabv3-like": ([5, 4, 8, 0], (0, 2), (26.360, 27.690, 30.789)),
    "u-net-like": ([5, 4, 4, 4], (3, 3), (27.355, 28.752, 31.776)),
    "hrnetv2-like": ([17, 12, 8, 4], (9, 12), (60.768, 62.143, 71.917)),
    "auto-deeplab-like": ([5, 4, 5, 3], (3, 4), (27.642, 29.027, 32.064)),
}


def test_all_five_are_here() -> None:
    assert list(TOPOLOGIES) == list(SHAPES)


def kinds(route: Route, kind: str) -> int:
    return sum(kind in route.open_kinds(node) for node in route.space.nodes)


@pytest.mark.parametrize("name", SHAPES)
def test_shape_and_cost(name: str) -> None:
    nodes, moves, costs = SHAPES[name]
    route = topology(name, SPACE)
    assert [sum(route.is_open(n) for n in SPACE.nodes if n.scale == scale) for scale in range(SCALES)] == nodes
    assert (kinds(route, "up"), kinds(route, "down")) == moves
    tables = [cost_table(SPACE, FULL, 19, "none", "paper"), cost_table(SPACE, FULL, 19, "none")]
    tables.append(cost_table(SPACE, FULL, 19, "normal", "paper"))
    assert tuple(round(table.of_route(route, baked=True).total / 1e9, 3) for table in tables) == costs


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("depth", [8, 11, 16, 33])
def test_at_any_depth_nothing_computes_in_vain(name: str, depth: int) -> None:
    """Every open path's node is reached, and leads on to the head."""
    route = topology(name, RoutingSpace(depth, 8))
    assert route.normalized() == route
    useful = {node for node in route.space.nodes if node.layer == depth - 1}
    for node in reversed(route.space.nodes):
        for path in route.space.arriving(node):
            if node in useful and route.carries(path):
                useful.add(path.node)
    assert all(node in useful for node in route.space.nodes if route.is_open(node))


@pytest.mark.parametrize(("name", "scales"), [("fcn-32s-like", {3}), ("deeplabv3-like", {2}), ("u-net-like", {0}),
                                              ("hrnetv2-like", {0, 1, 2, 3}), ("auto-deeplab-like", {1})])  # fmt: skip
def test_what_the_head_gets(name: str, scales: set[int]) -> None:
    route = topology(name, SPACE)
    assert {node.scale for node in SPACE.nodes if node.layer == 15 and route.is_open(node)} == scales


def test_the_u_nets_skips_arrive() -> None:
    """Where the expanding half begins a scale, what the contracting half made there arrives beside what comes up."""
    route = topology("u-net-like", SPACE)
    arrives = [
        {path.kind for path in SPACE.arriving(node) if route.carries(path)}
        for node in SPACE.nodes
        if node.layer > 8 and route.is_open(node)
    ]
    assert arrives.count({"keep", "up"}) == 3


def test_unknown_names_and_shallow_spaces_are_refused() -> None:
    with pytest.raises(UsageError, match="no topology named 'fcn'"):
        topology("fcn", SPACE)
    with pytest.raises(UsageError, match="at least 8 layers"):
        topology("u-net-like", RoutingSpace(4))
