"""Classical networks as routes of the space, after figure 3 of the dynamic-routing paper (arXiv 2003.10401).

This is our modeling: the paper draws FCN-32s, DeepLabV3, U-Net, HRNetV2 and Auto-DeepLab in its space and
counts 35.1, 42.5, 53.9, 62.5 and 33.1 G at 1024 x 2048 (depth 16, width 64), but its coordinates are
unpublished, and its code has none of them. Ours follow each network's own connections:

    fcn-32s-like       one path, as many layers at 1/4, 1/8, 1/16 and 1/32; the head gets 1/32 only
    deeplabv3-like     one path that stays at 1/16 for its second half; the head gets 1/16 only
    u-net-like         down to 1/32 in the first half, back up to 1/4 in the second; at each scale the
                       contracting half is handed across, uncomputed, to the expanding half; the head gets 1/4
    hrnetv2-like       all scales kept to the end, in four stages that each begin one more; every second
                       layer neighboring scales exchange; the head gets all four
    auto-deeplab-like  one path, the one that network's search found, stretched to the depth at hand; the
                       head gets 1/8 only

A node that passes its input on (models/routing/route.py) is how a skip connection stands in this space.
At 1024 x 2048, depth 16, width 64 and 19 classes, in 1e9 operations:

                       paper's counting   own counting     paper's, with the normal
                       without gates      without gates    gates of open nodes
    fcn-32s-like       26.532             27.866           30.952
    deeplabv3-like     26.360             27.690           30.789
    u-net-like         27.355             28.752           31.776
    hrnetv2-like       60.768             62.143           71.917
    auto-deeplab-like  27.642             29.027           32.064
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from adroit.errors import UsageError
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, SCALES, Node, Path, RoutingSpace

# The scale of each of the 12 cells of Auto-DeepLab (arXiv 1901.02985, figure 3), 0 for 1/4 to 3 for 1/32.
AUTO_DEEPLAB = (0, 0, 0, 1, 2, 1, 2, 2, 3, 3, 2, 1)
MINIMUM_DEPTH = 2 * SCALES
_DEEPEST = SCALES - 1


def topology(name: str, space: RoutingSpace) -> Route:
    """The route called `name` in `space`; raises UsageError for an unknown name or too shallow a space."""
    if name not in TOPOLOGIES:
        raise UsageError(f"there is no topology named {name!r}", facts={"known": ", ".join(TOPOLOGIES)})
    if space.depth < MINIMUM_DEPTH:
        raise UsageError(f"{name} needs at least {MINIMUM_DEPTH} layers, the network has {space.depth}")
    return Route.of_paths(space, TOPOLOGIES[name](space)).normalized()


def _one_path(scales: Sequence[int]) -> list[Path]:
    """From the init node through `scales`, one a layer, to the head."""
    nodes = [INIT, *(Node(layer, scale) for layer, scale in enumerate(scales))]
    steps = [after.scale - node.scale for node, after in itertools.pairwise(nodes)]
    kinds = [{-1: "up", 0: "keep", 1: "down"}[step] for step in steps]
    return [Path(node, kind) for node, kind in zip(nodes, [*kinds, "keep"], strict=True)]


def _stretched(scales: Sequence[int], depth: int) -> list[int]:
    """`scales` repeated or thinned to `depth` layers; a layer moves by one scale at most."""
    path: list[int] = []
    for layer in range(depth):
        target, at = scales[layer * len(scales) // depth], path[-1] if path else 0
        path.append(at + max(-1, min(1, target - at)))
    return path


def _fcn_32s(space: RoutingSpace) -> list[Path]:
    return _one_path(_stretched(range(SCALES), space.depth))


def _deeplabv3(space: RoutingSpace) -> list[Path]:
    return _one_path(_stretched((0, 1, 2, 2), space.depth))


def _auto_deeplab(space: RoutingSpace) -> list[Path]:
    return _one_path(_stretched(AUTO_DEEPLAB, space.depth))


def _u_net(space: RoutingSpace) -> list[Path]:
    half = space.depth // 2
    down = _stretched(range(SCALES), half)
    up = _stretched(range(SCALES), space.depth - half)[::-1]
    # What a scale's last contracting node makes is kept too; closed nodes then hand it on.
    ends = [layer for layer in range(half - 1) if down[layer + 1] > down[layer]]
    return _one_path([*down, *up]) + [Path(Node(layer, down[layer]), "keep") for layer in ends]


def _hrnetv2(space: RoutingSpace) -> list[Path]:
    stage = space.depth // SCALES
    paths = [Path(INIT, "keep")]
    for node in space.nodes[1:]:
        begun = node.layer // stage
        if node.scale > begun:
            continue
        paths.append(Path(node, "keep"))
        last_of_stage, exchanges = (node.layer + 1) % stage == 0, node.layer % 2 == 1
        if node.layer == space.depth - 1:
            continue
        if node.scale > 0 and exchanges:
            paths.append(Path(node, "up"))
        if node.scale < min(begun, _DEEPEST) and exchanges:
            paths.append(Path(node, "down"))
        if node.scale == begun < _DEEPEST and last_of_stage:
            paths.append(Path(node, "down"))
    return paths


TOPOLOGIES: Mapping[str, Callable[[RoutingSpace], list[Path]]] = {
    "fcn-32s-like": _fcn_32s,
    "deeplabv3-like": _deeplabv3,
    "u-net-like": _u_net,
    "hrnetv2-like": _hrnetv2,
    "auto-deeplab-like": _auto_deeplab,
}
