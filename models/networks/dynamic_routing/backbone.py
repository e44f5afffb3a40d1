"""Stem and routing space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adroit.models.networks.dynamic_routing.gate import Samples, either
from adroit.models.networks.dynamic_routing.layers import Stem
from adroit.models.networks.dynamic_routing.node import NodeResult, RoutedNode
from adroit.models.routing.cost import Gate
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, SCALES, Node, RoutingSpace, StemShape


class RoutedBackbone(nn.Module):
    """[N,3,H,W] to four maps at strides 4 to 32, and all gates.

    Args:
        space: geometry. gate: see RoutedNode.
        drop_path: the last layer's drop probability at the end of training; it grows with the layer.
        stem: what comes before the space.
    """

    def __init__(self, space: RoutingSpace, gate: Gate, drop_path: float, stem: StemShape) -> None:
        super().__init__()
        self.space = space
        self.stem = Stem(space.width, stem)

        def node(at: Node) -> RoutedNode:
            rate = drop_path * (at.layer + 1) / space.depth
            return RoutedNode(space.channels(at.scale), space.kinds(at), len(space.arriving(at)), gate, rate)

        self.all_cell_list = nn.ModuleList(
            nn.ModuleList(node(Node(layer, scale)) for scale in range(space.scales(layer)))
            for layer in range(space.depth)
        )
        self.init_layer = node(INIT)

    def node(self, at: Node) -> RoutedNode:
        """Returns the module of the node `at`."""
        name = "init_layer" if at == INIT else f"all_cell_list.{at.name}"
        module = self.get_submodule(name)
        assert isinstance(module, RoutedNode)
        return module

    def forward(
        self, x: Tensor, threshold: Tensor, route: Route
    ) -> tuple[list[Tensor | None], list[Samples], list[Tensor]]:
        """See DynamicRouting.forward.

        Returns:
            The last layer's maps, stride 4 first, None where nothing reaches a scale in any sample; the samples in
            which something does; and each node's gates [N,P,1,1].
        """
        stem: Tensor = self.stem(x)
        results: dict[Node, NodeResult] = {}
        live: dict[Node, Samples] = {}
        for at in self.space.nodes:
            live[at] = True if at == INIT else self._live(at, live, results)
            if live[at] is False:
                kinds = len(self.space.kinds(at))
                results[at] = NodeResult({}, False, stem.new_zeros(stem.shape[0], kinds, 1, 1))
                continue
            entering = stem if at == INIT else self._entering(at, results, stem)
            results[at] = self.node(at)(entering, live[at], threshold, route.open_kinds(at))
        last = [Node(self.space.depth - 1, scale) for scale in range(SCALES)]
        features = [results[at].sent.get("keep") for at in last]
        return features, [live[at] for at in last], [results[at].gates for at in self.space.nodes]

    def _live(self, at: Node, live: dict[Node, Samples], results: dict[Node, NodeResult]) -> Samples:
        """The samples that a tensor reaches (models/routing/route.py says when).

        Training computes every node for every sample, as the official code does: a gate that nothing
        reaches could not learn to open.
        """
        reached: Samples = False
        for path in self.space.arriving(at):
            arrives = live[path.node] if path.kind == "keep" else results[path.node].opened
            reached = either(reached, arrives is not False if self.training else arrives)
        return reached

    def _entering(self, at: Node, results: dict[Node, NodeResult], stem: Tensor) -> Tensor:
        paths = self.space.arriving(at)
        arrived = [results[path.node].sent[path.kind] for path in paths if path.kind in results[path.node].sent]
        return self.node(at).sum_arriving(arrived) if arrived else self._zeros(at, stem)

    def _zeros(self, at: Node, stem: Tensor) -> Tensor:
        """What enters a node that only zeros reach.

        Made from the stem's output and not from its sizes: a traced graph then holds no size.
        """
        thinned = stem[:, :1, :: 1 << at.scale, :: 1 << at.scale]
        return torch.where(thinned > 0, 0.0, stem.new_zeros(1, self.space.channels(at.scale), 1, 1))
