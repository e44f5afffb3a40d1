"""The grid of nodes that a routed network is made of, and the paths between them.

Source: Dynamic Routing, arXiv 2003.10401, section 3.1, with the official code's geometry: four
scales at strides 4, 8, 16 and 32; one more scale in each of the first three layers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from adroit.errors import UsageError

SCALES = 4
# Layers until a node exists at every scale: the head needs all four.
MINIMUM_DEPTH = SCALES - 1


@dataclass(frozen=True)
class Node:
    """A node of the space: `layer` 0 to depth - 1, or -1 for the init node; `scale` 0 to 3 (stride 4 to 32)."""

    layer: int
    scale: int

    @property
    def name(self) -> str:
        """ "init", or "layer.scale" as in the official parameter names."""
        return "init" if self.layer < 0 else f"{self.layer}.{self.scale}"


INIT = Node(-1, 0)


@dataclass(frozen=True)
class Path:
    """A path out of `node`: "keep" (same scale), "up" (half the stride) or "down" (twice the stride)."""

    node: Node
    kind: str


@dataclass(frozen=True)
class StemShape:
    """What lies between the image and the first node.

    Attributes:
        channels: of the first two of its three convolutions; 0 for as many as the space is wide. (The official code
            has 64, whatever its INIT_CHANNEL is.)
        separable: whether the second and third are separable (the official SEPT_STEM), or full 3 x 3 convolutions.

    Raises:
        UsageError: a negative number of channels.
    """

    channels: int = 0
    separable: bool = True

    def __post_init__(self) -> None:
        if self.channels < 0:
            raise UsageError(f"a stem has at least 1 channel, or 0 for the space's width, not {self.channels}")

    def inner(self, width: int) -> int:
        """The channels of the first two convolutions in a space of `width`."""
        return self.channels or width


USUAL_STEM = StemShape()


@dataclass(frozen=True)
class RoutingSpace:
    """The geometry, without weights.

    Attributes:
        depth: routed layers, at least 3.
        width: channels at stride 4; each further scale has twice as many.

    Raises:
        UsageError: a depth or width that makes no network.
    """

    depth: int
    width: int = 64

    def __post_init__(self) -> None:
        if self.depth < MINIMUM_DEPTH:
            raise UsageError(f"a routing space has at least {MINIMUM_DEPTH} layers, not {self.depth}")
        if self.width < 2 or self.width % 2:
            raise UsageError(f"a routing space has an even width of at least 2 channels, not {self.width}")

    def channels(self, scale: int) -> int:
        """Channels of the maps at `scale`: twice as many at each."""
        return self.width << scale

    def scales(self, layer: int) -> int:
        """How many nodes `layer` has, scale 0 first."""
        return 1 if layer < 0 else min(layer + 2, SCALES)

    @functools.cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The init node, then layer by layer, scale by scale."""
        routed = (Node(layer, scale) for layer in range(self.depth) for scale in range(self.scales(layer)))
        return (INIT, *routed)

    def kinds(self, node: Node) -> tuple[str, ...]:
        """The paths out of a node in the order of its gates: keep, then up and down where they exist."""
        if node.layer == self.depth - 1:
            return ("keep",)
        up = ("up",) if node.scale > 0 else ()
        down = ("down",) if node.scale < SCALES - 1 else ()
        return ("keep", *up, *down)

    @functools.cached_property
    def paths(self) -> tuple[Path, ...]:
        """All paths, node by node: the order of the network's gates."""
        return tuple(Path(node, kind) for node in self.nodes for kind in self.kinds(node))

    @functools.cached_property
    def _gates(self) -> dict[Node, slice]:
        slices, start = {}, 0
        for node in self.nodes:
            end = start + len(self.kinds(node))
            slices[node], start = slice(start, end), end
        return slices

    def gates(self, node: Node) -> slice:
        """Where the node's gates are among all `paths`."""
        return self._gates[node]

    def arriving(self, node: Node) -> tuple[Path, ...]:
        """The paths into a node, in the order of their sum: down from scale - 1, keep, up from scale + 1.

        None enters the init node, which the stem feeds.
        """
        if node == INIT:
            return ()
        sources = (("down", node.scale - 1), ("keep", node.scale), ("up", node.scale + 1))
        existing = range(self.scales(node.layer - 1))
        return tuple(Path(self._node(node.layer - 1, scale), kind) for kind, scale in sources if scale in existing)

    def _node(self, layer: int, scale: int) -> Node:
        return INIT if layer < 0 else Node(layer, scale)
