"""Filters in front of the layers that drop pixels, so that networks alias less.

Sources: adaptive, arXiv 2008.09604 (names and arithmetic of the official code, so that its
checkpoints fit); binomial, "Making Convolutional Networks Shift-Invariant Again", arXiv 1904.11486.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.operators.adaptive_filter import FILTER_SIZES, adaptive_filter

# Even ones pad one pixel more at the right and bottom, as the published code does.
BINOMIAL_SIZES = (2, 3, 4, 5, 6, 7)
FilterKind = Literal["adaptive", "binomial", "none"]


@dataclass(frozen=True)
class FilterChoice:
    """Which filter a network has wherever it drops pixels.

    Attributes:
        kind: "adaptive" (AdaptiveAntiAlias), "binomial" (BinomialFilter), or "none": the plain
            network, whose convolutions and pooling stride.
        size: k in pixels: 3, 5 or 7; of the binomial filter 2 to 7.
        groups: G of the adaptive filter; divides every channel count that is filtered.
        joint_softmax: of the adaptive filter; published weights need it.

    Raises:
        UsageError: another kind or size, or groups below 1.
    """

    kind: FilterKind = "adaptive"
    size: int = 3
    groups: int = 8
    joint_softmax: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("adaptive", "binomial", "none"):
            raise UsageError(f"filter is adaptive, binomial or none, not {self.kind!r}")
        if self.kind == "binomial" and self.size not in BINOMIAL_SIZES:
            raise UsageError(f"filter_size of a binomial filter is 2 to 7, not {self.size!r}")
        if self.kind != "binomial" and self.size not in FILTER_SIZES:
            raise UsageError(
                f"filter_size is 3, 5 or 7, not {self.size!r}", hint="filter=binomial takes 2, 4 and 6 too"
            )
        if self.groups < 1:
            raise UsageError(f"groups is at least 1, not {self.groups!r}")

    def layer(self, channels: int, stride: int) -> nn.Module:
        """The filter for [N,channels,H,W] that keeps every stride-th row and column. Not for "none"."""
        if self.kind == "adaptive":
            return AdaptiveAntiAlias(channels, self.size, stride, self.groups, self.joint_softmax)
        assert self.kind == "binomial"
        return BinomialFilter(channels, self.size, stride)


def filter_choice(kind: str, size: int, groups: int, joint_softmax: bool) -> FilterChoice:
    """From plain values, as a checkpoint's config holds them; raises as FilterChoice does."""
    return FilterChoice(cast(FilterKind, kind), size, groups, joint_softmax)


class AdaptiveAntiAlias(nn.Module):
    """Blurs [N,C,H,W] by a kernel of its own at each position and for each group of channels.

    A k x k convolution and a batch norm predict the logits of the kernels; the operator
    (models/operators/adaptive_filter.py) does the rest. In training the logits are predicted at
    every position, so that the batch norm's statistics are the official code's; in evaluation only
    at the kept ones, which gives the same numbers for 1/stride^2 of the work.

    Args:
        channels: C. filter_size: k in pixels. stride: 1 or 2. groups: G; divides C.
        joint_softmax: see the operator.

    Raises:
        UsageError: groups that do not divide C; in `forward`, H or W not above k // 2.
    """

    def __init__(self, channels: int, filter_size: int, stride: int, groups: int, joint_softmax: bool = True) -> None:
        super().__init__()
        if channels % groups != 0:
            raise UsageError(f"{groups} groups do not divide the {channels} channels that are filtered")
        self.filter_size, self.stride, self.groups, self.joint_softmax = filter_size, stride, groups, joint_softmax
        self.conv = nn.Conv2d(
            channels, groups * filter_size**2, filter_size, stride, filter_size // 2, bias=False, padding_mode="reflect"
        )
        self.bn = nn.BatchNorm2d(groups * filter_size**2)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Filters x [N,C,H,W]; returns [N,C,H',W'], of the stride's size."""
        # While a graph is traced sizes are symbols, and the padding states this condition itself.
        if not torch.compiler.is_compiling() and min(x.shape[2:]) <= self.filter_size // 2:
            raise UsageError(
                f"a map of {x.shape[2]} x {x.shape[3]} pixels is too small for a filter of {self.filter_size}",
                hint="give a larger image",
            )
        if self.training:
            logits = self.bn(self._dense_prediction(x))[:, :, :: self.stride, :: self.stride]
        else:
            logits = self.bn(self.conv(x))
        result: Tensor = adaptive_filter(x, logits, self.filter_size, self.stride, self.groups, self.joint_softmax)
        return result

    def _dense_prediction(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, [self.filter_size // 2] * 4, mode="reflect")
        return functional.conv2d(padded, self.conv.weight)

    def extra_repr(self) -> str:
        """Returns what repr shows in the brackets."""
        return (
            f"filter_size={self.filter_size}, stride={self.stride}, groups={self.groups},"
            f" joint_softmax={self.joint_softmax}"
        )


class BinomialFilter(nn.Module):
    """Blurs each channel of [N,C,H,W] by the normalized binomial kernel, and keeps every stride-th pixel.

    The buffer `filt` [C,1,k,k], or [1,1,k,k] for any C, is part of the state, as in published checkpoints.

    Args:
        channels: C, or None for whatever the input has.
        filter_size: k in pixels, 1 or more; 1 only drops pixels.
        stride: in pixels, both dimensions.
        padding_mode: "reflect", "replicate" or "constant" (zeros), as torch.nn.functional.pad takes it.
        padding: pixels at the left, right, top and bottom; by default (k - 1) / 2, rounded down at the left and top
            and up at the right and bottom.
    """

    filt: Tensor

    def __init__(
        self,
        channels: int | None,
        filter_size: int,
        stride: int,
        padding_mode: str = "reflect",
        padding: tuple[int, int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.filter_size, self.stride, self.channels = filter_size, stride, channels
        low, high = (filter_size - 1) // 2, filter_size // 2
        self.padding_mode, self.padding = padding_mode, padding or (low, high, low, high)
        row = torch.tensor([float(math.comb(filter_size - 1, tap)) for tap in range(filter_size)])
        kernel = torch.outer(row, row) / row.sum() ** 2
        self.register_buffer("filt", kernel.repeat(channels or 1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Filters x [N,C,H,W]; returns [N,C,H',W'], of the stride's size."""
        if any(self.padding):
            x = functional.pad(x, self.padding, mode=self.padding_mode)
        if self.filter_size == 1:
            return x[:, :, :: self.stride, :: self.stride]
        kernel = self.filt if self.channels is not None else self.filt.expand(x.shape[1], -1, -1, -1)
        return functional.conv2d(x, kernel, stride=self.stride, groups=kernel.shape[0])

    def extra_repr(self) -> str:
        """Returns what repr shows in the brackets."""
        return (
            f"{self.channels}, filter_size={self.filter_size}, stride={self.stride},"
            f" padding={self.padding}, padding_mode={self.padding_mode}"
        )
