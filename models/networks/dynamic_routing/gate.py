"""The soft conditional gate of a node, and what its values mean for the node."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from adroit.models.networks.dynamic_routing.layers import ConvNorm, folded_convolution
from adroit.models.operators.routing_gate import SMALL_GATE_SHRINK, close_gates, routing_gate, shrink_for_gate
from adroit.models.routing.route import CLOSED_BELOW

GateWeights = tuple[Tensor, Tensor, Tensor, Tensor]
# For which samples of a batch something holds: [N,1,1,1] bool, or one answer for all of them.
Samples = Tensor | bool
INITIAL_BIAS = 1.5  # tanh(1.5) = 0.905: training starts with every path open


def either(a: Samples, b: Samples) -> Samples:
    """Logical or, without an operation where one answer is known for all samples."""
    if a is True or b is True:
        return True
    if a is False:
        return b
    return a if b is False else a | b


class SoftGate(nn.Sequential):
    """max(0, tanh(...)) for each path of a node from the node's input (paper, section 3.3).

    In training these are ordinary modules; in evaluation the operator adroit::routing_gate with the
    batch norm folded into its first convolution. Members 0 and 2 hold the official weights.

    Args:
        channels: C of the node. paths: how many leave it.
        shrink: 1, or 4 for the small gate (models/operators/routing_gate.py).
    """

    def __init__(self, channels: int, paths: int, shrink: int) -> None:
        super().__init__(
            ConvNorm(channels, channels // 2, 1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels // 2, paths, 1)
        )
        self.shrink = shrink
        self._frozen: GateWeights | None = None

    def forward(self, x: Tensor, threshold: Tensor) -> Tensor:  # type: ignore[override]
        """x [N,C,H,W], threshold [1] or [N]; returns [N,paths], 0 where not above the threshold."""
        if self.training:
            return close_gates(self.values(x).relu(), threshold)
        weights = self._frozen or self.weights()
        gates: Tensor = routing_gate(x, *weights, threshold, self.shrink)[0]
        return gates

    def values(self, x: Tensor) -> Tensor:
        """tanh of the logits, [N,paths], before any is closed."""
        first, pool, last = self
        seen = shrink_for_gate(x) if self.shrink == SMALL_GATE_SHRINK else x
        logits: Tensor = last(pool(first(seen))).flatten(1)
        return logits.tanh()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """While it lasts, `forward` takes the operator's weights as they are now, and does not fold them anew."""
        with torch.no_grad():
            self._frozen = self.weights()
        try:
            yield
        finally:
            self._frozen = None

    def weights(self) -> GateWeights:
        """W1, b1, W2 and b2 of the operator."""
        return (*self.folded(), *self.last())

    def last(self) -> tuple[Tensor, Tensor]:
        """W2 [paths,Hd] and b2 [paths]."""
        last = self[2]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        return last.weight.flatten(1), last.bias

    def folded(self) -> tuple[Tensor, Tensor]:
        """W1 [Hd,C] and b1 [Hd]: the first convolution with its batch norm."""
        first = self[0]
        assert isinstance(first, ConvNorm)
        norm = first.norm
        assert isinstance(norm, nn.BatchNorm2d)
        return folded_convolution(first.weight.flatten(1), norm)


class Decide(nn.Module):
    """Which samples a node is open for, and the gates that then count.

    A sample's node is closed when its gates sum to less than 1e-4, or when nothing reaches it (it is
    not live): this is the official inference at batch 1, for every sample of any batch. Gates of a
    closed node count as exactly 0, so that a path has to be computed only where its gate is above 0.
    """

    def forward(self, gates: Tensor, live: Samples) -> tuple[Tensor, Tensor]:
        """gates [N,P]; returns open [N,1,1,1] bool and the gates [N,P,1,1], 0 for closed samples."""
        columns = gates.unsqueeze(2).unsqueeze(3)
        opened = columns.sum(1, keepdim=True) >= CLOSED_BELOW
        if isinstance(live, Tensor):
            opened = opened & live
        return opened, torch.where(opened, columns, 0.0)


class GateProduct(nn.Module):
    """What a path delivers, [N,C,H,W], times its gate, [N,1,1,1]."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Multiplies x [N,C,H,W] by its samples' gates [N,1,1,1]."""
        return x * gate


class PassClosed(nn.Module):
    """What the keep path delivers: a closed node's input unchanged, without ReLU."""

    def forward(self, opened: Tensor, passed: Tensor, x: Tensor) -> Tensor:
        """Returns `passed` for samples whose node is open, x for the others; all [N,C,H,W]."""
        return torch.where(opened, passed, x)
