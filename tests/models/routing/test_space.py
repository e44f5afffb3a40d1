"""The geometry of the routing space against the published one."""

from __future__ import annotations

from collections import Counter

import pytest

from adroit.errors import UsageError
from adroit.models.routing.space import INIT, Node, RoutingSpace


@pytest.mark.parametrize(("depth", "nodes", "gates"), [(16, (16, 16, 15, 14), 147), (33, (33, 33, 32, 31), 317)])
def test_published_counts(depth: int, nodes: tuple[int, ...], gates: int) -> None:
    space = RoutingSpace(depth)
    routed = [node for node in space.nodes if node != INIT]
    assert tuple(Counter(node.scale for node in routed)[scale] for scale in range(4)) == nodes
    assert sum(len(space.kinds(node)) for node in routed) == gates
    assert space.kinds(INIT) == ("keep", "down")
    assert len(space.paths) == gates + 2


def test_published_edges() -> None:
    counts = Counter((path.kind, path.node.scale) for path in RoutingSpace(16).paths if path.node != INIT)
    assert [counts["up", scale] for scale in range(4)] == [0, 15, 14, 13]
    assert [counts["down", scale] for scale in range(4)] == [15, 15, 14, 0]


@pytest.mark.parametrize("depth", [3, 4, 16])
def test_every_path_arrives_once_and_every_node_is_entered(depth: int) -> None:
    space = RoutingSpace(depth)
    arriving = [path for node in space.nodes for path in space.arriving(node)]
    leaving = [path for path in space.paths if path.node.layer < depth - 1]
    assert Counter(arriving) == Counter(leaving) and len(set(arriving)) == len(arriving)
    assert all(space.arriving(node) for node in space.nodes if node != INIT)
    assert space.arriving(INIT) == ()


def test_gates_follow_the_nodes() -> None:
    space = RoutingSpace(5)
    for node in space.nodes:
        assert [path.node for path in space.paths[space.gates(node)]] == [node] * len(space.kinds(node))
    assert space.kinds(Node(2, 1)) == ("keep", "up", "down")
    assert space.kinds(Node(4, 1)) == ("keep",)


@pytest.mark.parametrize(("depth", "width", "message"), [(2, 64, "at least 3"), (3, 0, "width"), (3, 9, "even")])
def test_impossible_spaces_are_refused(depth: int, width: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RoutingSpace(depth, width)
