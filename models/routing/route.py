"""Which paths of a routing space are open, and what of the network then runs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from adroit.errors import UsageError
from adroit.models.routing.space import INIT, Node, Path, RoutingSpace

# A sample's node is closed where its gates sum to less: the official code's rule.
CLOSED_BELOW = 1e-4


@dataclass(frozen=True)
class Route:
    """One route: open or closed for every path of `space`, in the order of `space.paths`.

    What follows from it, as in the official inference at batch 1:
    - a node is *live* when a tensor reaches it: by the keep path of a live node (a closed node passes
      its input on), or by the up or down path of an open node, even where that path is closed and the
      tensor is zeros. Other nodes do nothing at all, not even their gate;
    - a node is *open* when it is live and one of its paths is open. Only open nodes compute their cell.
    """

    space: RoutingSpace
    open: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.open) != len(self.space.paths):
            raise UsageError(f"a route of this space has {len(self.space.paths)} paths, not {len(self.open)}")

    @classmethod
    def from_gates(cls, space: RoutingSpace, gates: ArrayLike) -> Route:
        """Of one sample's gates, [paths]: a path is open where its gate is above 0."""
        values = np.asarray(gates)
        if values.shape != (len(space.paths),):
            raise UsageError(f"gates of this space have shape [{len(space.paths)}], not {list(values.shape)}")
        return cls(space, tuple(bool(value > 0) for value in values)).normalized()

    @classmethod
    def all_open(cls, space: RoutingSpace) -> Route:
        """Returns the route with every path open."""
        return cls(space, (True,) * len(space.paths))

    @classmethod
    def none(cls, space: RoutingSpace) -> Route:
        """Everything closed: the stem's output is passed on at stride 4, nothing reaches the other scales."""
        return cls(space, (False,) * len(space.paths))

    @classmethod
    def of_paths(cls, space: RoutingSpace, paths: Iterable[Path]) -> Route:
        """Raises UsageError for a path that the space does not have."""
        requested = set(paths)
        unknown = requested - set(space.paths)
        if unknown:
            names = sorted(f"{path.node.name} {path.kind}" for path in unknown)
            raise UsageError(f"this space has no path {', '.join(names)}")
        return cls(space, tuple(path in requested for path in space.paths))

    @classmethod
    def union(cls, routes: Sequence[Route]) -> Route:
        """What a batch of samples needs. All routes are of one space; at least one."""
        spaces = {route.space for route in routes}
        if len(spaces) != 1:
            raise UsageError(f"the union of routes needs routes of one space, not of {len(spaces)}")
        columns = zip(*(route.open for route in routes), strict=True)
        return cls(routes[0].space, tuple(any(column) for column in columns))

    def open_kinds(self, node: Node) -> tuple[str, ...]:
        """The kinds of the node's paths that are open, whether the node is live or not."""
        states = self.open[self.space.gates(node)]
        return tuple(kind for kind, is_open in zip(self.space.kinds(node), states, strict=True) if is_open)

    @functools.cached_property
    def _reached(self) -> tuple[frozenset[Node], frozenset[Node]]:
        live: set[Node] = set()
        opened: set[Node] = set()
        for node in self.space.nodes:
            if node == INIT or any(
                path.node in (live if path.kind == "keep" else opened) for path in self.space.arriving(node)
            ):
                live.add(node)
                if self.open_kinds(node):
                    opened.add(node)
        return frozenset(live), frozenset(opened)

    def is_live(self, node: Node) -> bool:
        """Whether a tensor reaches the node, so that its gate runs."""
        return node in self._reached[0]

    def is_open(self, node: Node) -> bool:
        """Whether the node computes its cell."""
        return node in self._reached[1]

    def carries(self, path: Path) -> bool:
        """Whether the path delivers more than zeros: it is open, or the keep path of a live closed node."""
        node_open = self.is_open(path.node)
        passes = path.kind == "keep" and self.is_live(path.node) and not node_open
        return passes or (node_open and path.kind in self.open_kinds(path.node))

    def sends(self, path: Path, gated: bool = True) -> bool:
        """Whether the path delivers a map at all, be it of zeros, to the sum of the node that it enters.

        gated: of a network with gates, where the keep path of every live node does.
        """
        return self.carries(path) or (gated and path.kind == "keep" and self.is_live(path.node))

    def normalized(self) -> Route:
        """The same computation with the paths of unreached nodes closed."""
        return Route(
            self.space,
            tuple(
                is_open and self.is_open(path.node) for path, is_open in zip(self.space.paths, self.open, strict=True)
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Depth, width and, for each node that has any, the open paths."""
        nodes = {node.name: list(kinds) for node in self.space.nodes if (kinds := self.open_kinds(node))}
        return {"depth": self.space.depth, "width": self.space.width, "open": nodes}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Route:
        """Raises UsageError for what `to_json` does not write, naming it."""
        try:
            space = RoutingSpace(int(values["depth"]), int(values["width"]))
            named = {name: list(kinds) for name, kinds in values["open"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError("this is not a route: it needs depth, width and open", facts={"at": error}) from error
        nodes = {node.name: node for node in space.nodes}
        unknown = sorted(set(named) - set(nodes))
        if unknown:
            raise UsageError(f"a route of depth {space.depth} has no node {', '.join(unknown)}")
        return cls.of_paths(space, (Path(nodes[name], str(kind)) for name, kinds in named.items() for kind in kinds))
