"""Layers that random networks are made of: compositions that PyTorch has no module for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from adroit.nn import AdderConv2d, RoutingGate

Function = Callable[..., Tensor]


class Apply(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.function(*tensors)


class WithConstant(nn.Module):
    """Adds, subtracts, multiplies or divides by a constant of any shape that broadcasts, from either side."""

    def __init__(self, function: Function, constant: Tensor, first: bool) -> None:
        super().__init__()
        self.function, self.first = function, first
        self.register_buffer("constant", constant)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.constant, x) if self.first else self.function(x, self.constant)


class SqueezeExcite(nn.Module):
    """x times a factor for each channel that x itself gives, [N,C,1,1]."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.reduce(x.mean((2, 3), keepdim=True)).relu()))


class GatedByImage(nn.Module):
    """x times one gate of dynamic routing, [N,1,1,1]; at a threshold of 0 the gate has no jump."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = RoutingGate(channels, 2, 1)
        norm = self.gate[0].norm
        nn.init.normal_(norm.running_mean, std=0.3)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
        nn.init.uniform_(self.gate[2].bias, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x, x.new_zeros(1))[:, 1, None, None, None]


class Branching(nn.Module):
    """One of two blocks, by the mean of x: an If whose branches read x, and a third tensor from outside.

    The threshold is far from any mean that a test sees, so that rounding never changes the choice. torch.cond wants
    results of one memory layout.
    """

    def __init__(self, channels: int, then: bool) -> None:
        super().__init__()
        self.adder, self.norm = AdderConv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.conv, self.other = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.threshold = -1e4 if then else 1e4

    def forward(self, x: Tensor, outside: Tensor) -> Tensor:
        shifted = outside * 0.5

        def then(x: Tensor, shifted: Tensor) -> Tensor:
            return (self.norm(self.adder(x)) + shifted).relu().contiguous()

        def otherwise(x: Tensor, shifted: Tensor) -> Tensor:
            return (self.other(self.conv(x)) - shifted).contiguous()

        if not torch.compiler.is_exporting():  # in eager mode torch.cond compiles both, each time
            return (then if x.mean() > self.threshold else otherwise)(x, shifted) + shifted
        return torch.cond(x.mean() > self.threshold, then, otherwise, (x, shifted)) + shifted


class Flat(nn.Module):
    """Layers of one or three dimensions on a map [N,C,H,W]."""

    def __init__(self, channels: int, dimensions: int, bias: bool) -> None:
        super().__init__()
        self.dimensions = dimensions
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if dimensions == 1 else (nn.Conv3d, nn.BatchNorm3d)
        self.layers = nn.Sequential(conv(channels, channels, 3, padding=1, bias=bias), norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2) if self.dimensions == 1 else x.unsqueeze(2)
        return self.layers(flat).reshape(x.shape)


class ChannelLast(nn.Module):
    """Layers over the last axis: a norm, a linear layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Head(nn.Module):
    """Logits [N,K] of a map; with a norm, and a factor behind the linear layer."""

    def __init__(self, channels: int, norm: bool, factor: float) -> None:
        super().__init__()
        self.linear, self.last = nn.Linear(channels, 6), nn.Linear(6, 3, bias=norm)
        self.norm = nn.BatchNorm1d(6) if norm else nn.Identity()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.linear(x.mean((2, 3)))).relu()) * self.factor
