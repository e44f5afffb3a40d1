"""A node of the routing space: gate, cell and transitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adroit.errors import UnsupportedModel
from adroit.models.layers.adder import Add
from adroit.models.networks.dynamic_routing.gate import INITIAL_BIAS, Decide, GateProduct, PassClosed, Samples, SoftGate
from adroit.models.networks.dynamic_routing.layers import ConvNorm, DropPath, separable, upsample
from adroit.models.routing.cost import GATE_SHRINK, Gate


class SepConv(nn.Module):
    """Two separable 3 x 3 convolutions; no ReLU in front and none at the end."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Sequential(*separable(channels), *separable(channels, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """Applies the operation to x [N,C,H,W]."""
        result: Tensor = self.op(x)
        return result


class CellOperations(nn.Module):
    """H = SepConv(X) + X; no ReLU on the sum."""

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        self._ops = nn.ModuleList([SepConv(channels), nn.Identity()])
        self.drop_path = DropPath(drop_path)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        """Applies the operation to x [N,C,H,W]."""
        branch, identity = self._ops
        result: Tensor = self.add(self.drop_path(branch(x)), identity(x))
        return result


@dataclass(frozen=True)
class NodeResult:
    """What a node sends and why.

    Attributes:
        sent: by kind of path, [N,C,H,W]; a path that is absent delivers zeros to all samples.
        opened: for which samples the node computes.
        gates: [N,P,1,1] in the order of the node's paths.
    """

    sent: dict[str, Tensor]
    opened: Samples
    gates: Tensor


class RoutedNode(nn.Module):
    """One node (paper, figure 2), with the official names of tensors.

    Args:
        channels: C of its input.
        kinds: the paths that leave it, in the order of its gates (RoutingSpace.kinds).
        arriving: how many paths come in.
        gate: "normal", "small", or "none": then every path is open.
        drop_path: the cell's drop probability at the end of training.
    """

    def __init__(self, channels: int, kinds: Sequence[str], arriving: int, gate: Gate, drop_path: float) -> None:
        super().__init__()
        self.kinds, self.gated = tuple(kinds), gate != "none"
        self.join = nn.ModuleList(Add() for _ in range(arriving - 1))
        self.cell_ops = CellOperations(channels, drop_path)
        self.res_keep = nn.ReLU()
        if "up" in kinds:
            self.res_up = nn.Sequential(nn.ReLU(), ConvNorm(channels, channels // 2, 1), upsample(2))
        if "down" in kinds:
            self.res_down = nn.Sequential(nn.ReLU(), ConvNorm(channels, channels * 2, 1, stride=2))
        if self.gated:
            self.gate_conv_beta = SoftGate(channels, len(kinds), GATE_SHRINK[gate])
            self.decide, self.pass_closed = Decide(), PassClosed()
            self.weigh = nn.ModuleDict({kind: GateProduct() for kind in kinds})
        else:
            self.register_buffer("gate_weights_beta", torch.ones(1, len(kinds), 1, 1))
            self.register_load_state_dict_post_hook(_require_ones)  # type: ignore[no-untyped-call]

    def initialize(self) -> None:
        """Sets the gates' biases so that all paths begin open."""
        if self.gated:
            nn.init.constant_(self.gate_conv_beta.last()[1], INITIAL_BIAS)

    def sum_arriving(self, arrived: Sequence[Tensor]) -> Tensor:
        """The plain sum, in the order given; at least one term."""
        total = arrived[0]
        for add, term in zip(self.join, arrived[1:], strict=False):
            total = add(total, term)
        return total

    def forward(self, x: Tensor, live: Samples, threshold: Tensor, allowed: Sequence[str]) -> NodeResult:
        """Computes the node.

        Args:
            x: [N,C,H,W], the sum of what arrived.
            live: the samples that something reached; True or [N,1,1,1].
            threshold: [1] or [N], see models/operators/routing_gate.py.
            allowed: kinds of path that may be open; the others count as closed whatever their gate says.
        """
        if not allowed:
            return NodeResult({"keep": x}, False, x.new_zeros(x.shape[0], len(self.kinds), 1, 1))
        mask = [float(kind in allowed) for kind in self.kinds]
        if not self.gated:
            return NodeResult(
                self._paths(self.cell_ops(x), allowed),
                True,
                x.new_tensor(mask)[None, :, None, None].expand(x.shape[0], -1, -1, -1),
            )
        gates = self.gate_conv_beta(x, threshold)
        if 0.0 in mask:
            gates = gates * x.new_tensor(mask)
        opened, gates = self.decide(gates, live)
        paths = self._paths(self.cell_ops(x), allowed)
        sent = {kind: self.weigh[kind](path, self._gate(gates, kind)) for kind, path in paths.items()}
        # A sample whose gates are all closed passes on its input, even where the keep path may not open.
        sent["keep"] = self.pass_closed(opened, sent.get("keep", x.new_zeros(())), x)
        return NodeResult(sent, opened, gates)

    def _gate(self, gates: Tensor, kind: str) -> Tensor:
        return gates.narrow(1, self.kinds.index(kind), 1)

    def _paths(self, h: Tensor, allowed: Sequence[str]) -> dict[str, Tensor]:
        modules = {"keep": "res_keep", "up": "res_up", "down": "res_down"}
        return {kind: self.get_submodule(modules[kind])(h) for kind in self.kinds if kind in allowed}


def _require_ones(node: nn.Module, _: Any) -> None:
    weights = node.get_buffer("gate_weights_beta")
    if not bool((weights == 1).all()):
        raise UnsupportedModel("gate_weights_beta of an ungated network is not 1 everywhere")
