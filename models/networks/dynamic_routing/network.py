"""The whole network: backbone, head, and its execution by gates or by a route."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.networks.dynamic_routing.backbone import RoutedBackbone
from adroit.models.networks.dynamic_routing.head import DecoderHead
from adroit.models.networks.dynamic_routing.layers import DropPath
from adroit.models.networks.dynamic_routing.node import RoutedNode
from adroit.models.routing.cost import GATE_SHRINK, Gate, check_size
from adroit.models.routing.route import Route
from adroit.models.routing.space import USUAL_STEM, RoutingSpace, StemShape


class DynamicRouting(nn.Module):
    """Input [N,3,H,W] (preprocessed; H and W multiples of 32), output logits [N,classes,H,W].

    Results do not depend on batch mates in evaluation, and each sample's are those of the official
    code's inference at batch 1 (models/routing/route.py: which nodes run; gate.py: when one is closed; head.py: which
    maps are decoded).

    Args:
        depth, width: of the routing space; 16 or 33, and 64, as published.
        classes: number of logits.
        gate: "normal", "small" (it sees its input shrunk by 4: at least 128 x 128 pixels), or "none".
        drop_path: drop probability of the last layer's cells at the end of training.
        stem: what comes before the routing space.

    Raises:
        UsageError: an impossible depth, width or gate.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        classes: int,
        gate: Gate,
        drop_path: float = 0.0,
        stem: StemShape = USUAL_STEM,
    ) -> None:
        super().__init__()
        if gate not in ("none", *GATE_SHRINK):
            raise UsageError(f"the gate of a routed network is normal, small or none, not {gate!r}")
        self.space, self.gate, self.stem = RoutingSpace(depth, width), gate, stem
        self.backbone = RoutedBackbone(self.space, gate, drop_path, stem)
        self.sem_seg_head = DecoderHead(self.space, classes)
        self._initialize()

    def forward(
        self, x: Tensor, gate_threshold: Tensor | None = None, route: Route | None = None, with_gates: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Computes logits, by gates and, within them, by a route.

        Args:
            x: the input.
            gate_threshold: [1] or [N]; a gate at or below it counts as closed. None is 0, as trained.
            route: paths that may be open; the others are closed whatever their gates say, are not
                computed at all, and are absent from an exported graph. None is all of them.
            with_gates: also return the gates, [N,paths] in the order of `space.paths`, 0 where a path
                is closed or its node is closed or unreached.

        Raises:
            UsageError: a size, threshold or route that does not fit the network.
        """
        if not torch.compiler.is_exporting():
            self._check(x)
        route = Route.all_open(self.space) if route is None else route
        if route.space != self.space:
            raise UsageError(f"the route is of {route.space}, the network of {self.space}")
        threshold = x.new_zeros(1) if gate_threshold is None else gate_threshold.to(x.dtype)
        features, reached, gates = self.backbone(x, threshold, route)
        logits: Tensor = self.sem_seg_head(features, reached)
        return (logits, torch.cat(gates, dim=1).flatten(1)) if with_gates else logits

    def set_progress(self, progress: float) -> None:
        """Tells the scheduled drop path how much of the training is done, 0 to 1."""
        for module in self.modules():
            if isinstance(module, DropPath):
                module.set_progress(progress)

    def _check(self, x: Tensor) -> None:
        check_size((x.shape[2], x.shape[3]), self.gate)

    def _initialize(self) -> None:
        """As the official code: He's normal by fan-in everywhere, and gates that start open."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, RoutedNode):
                module.initialize()
