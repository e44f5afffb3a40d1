"""Classes with the names, attributes and results of public code, in words of our own.

`adroit.models.adoption` recognizes classes by name and attributes, so the names here are the public ones. The real
ones are compared in test_public_code.py, where they are at hand.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

PADDINGS = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d, "zero": nn.ZeroPad2d}


class adder2d(nn.Module):
    """The adder layer of AdderNet's repository."""

    def __init__(
        self,
        input_channel: int,
        output_channel: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.kernel_size, self.bias = stride, padding, kernel_size, bias
        self.input_channel, self.output_channel = input_channel, output_channel
        self.adder = nn.Parameter(torch.randn(output_channel, input_channel, kernel_size, kernel_size))
        if bias:
            self.b = nn.Parameter(torch.rand(output_channel))

    def forward(self, x: Tensor) -> Tensor:
        y = self.distances(x)
        return y + self.b[:, None, None] if self.bias else y

    def distances(self, x: Tensor) -> Tensor:
        """Minus the L1 distances of all windows and filters, [N,M,Ho,Wo]."""
        step = self.stride if isinstance(self.stride, int) else self.stride[0]
        padded = functional.pad(x, [self.padding] * 4)
        windows = padded.unfold(2, self.kernel_size, step).unfold(3, self.kernel_size, step)
        return -(windows[:, None] - self.adder[:, :, None, None]).abs().sum((2, 5, 6))


class Downsample_PASA_group_softmax(nn.Module):
    """The adaptive filter of Adaptive-anti-Aliasing's repository."""

    def __init__(
        self, in_channels: int, kernel_size: int, stride: int = 1, pad_type: str = "reflect", group: int = 2
    ) -> None:
        super().__init__()
        self.pad = PADDINGS[pad_type](kernel_size // 2)
        self.stride, self.kernel_size, self.group = stride, kernel_size, group
        self.conv = nn.Conv2d(in_channels, group * kernel_size**2, kernel_size, bias=False)
        self.bn = nn.BatchNorm2d(group * kernel_size**2)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        padded = self.pad(x)
        weights = self.softmax(self.bn(self.conv(padded))).unflatten(1, (self.group, -1))
        windows = functional.unfold(padded, self.kernel_size).view(
            x.shape[0], self.group, x.shape[1] // self.group, self.kernel_size**2, *x.shape[2:]
        )
        filtered = torch.einsum("ngcthw,ngthw->ngchw", windows, weights).flatten(1, 2)
        return filtered[:, :, :: self.stride, :: self.stride]


class BlurPool(nn.Module):
    """The binomial filter of antialiased_cnns."""

    def __init__(
        self, channels: int, pad_type: str = "reflect", filt_size: int = 4, stride: int = 2, pad_off: int = 0
    ) -> None:
        super().__init__()
        self.filt_size, self.pad_off, self.stride, self.channels = filt_size, pad_off, stride, channels
        low, high = math.floor((filt_size - 1) / 2) + pad_off, math.ceil((filt_size - 1) / 2) + pad_off
        self.pad_sizes, self.off = [low, high, low, high], (stride - 1) // 2
        self.register_buffer("filt", _binomial(filt_size).repeat(channels, 1, 1, 1))
        self.pad = PADDINGS[pad_type](self.pad_sizes)

    def forward(self, x: Tensor) -> Tensor:
        if self.filt_size == 1:
            padded = self.pad(x) if self.pad_off else x
            return padded[:, :, :: self.stride, :: self.stride]
        return functional.conv2d(self.pad(x), self.filt, stride=self.stride, groups=x.shape[1])


class BlurPool2d(nn.Module):
    """The binomial filter of timm; without `channels` it takes any number of them."""

    def __init__(
        self, channels: int | None = None, filt_size: int = 3, stride: int = 2, pad_mode: str = "reflect"
    ) -> None:
        super().__init__()
        self.channels, self.filt_size, self.stride, self.pad_mode = channels, filt_size, stride, pad_mode
        self.padding = [(stride - 1 + filt_size - 1) // 2] * 4
        self.register_buffer("filt", _binomial(filt_size).repeat(channels or 1, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1] if self.channels is None else self.channels
        kernel = self.filt.expand(channels, 1, self.filt_size, self.filt_size)
        return functional.conv2d(
            functional.pad(x, self.padding, mode=self.pad_mode), kernel, stride=self.stride, groups=channels
        )


def _binomial(size: int) -> Tensor:
    row = torch.tensor([math.comb(size - 1, tap) / 2 ** (size - 1) for tap in range(size)])
    return torch.outer(row, row)[None, None]
