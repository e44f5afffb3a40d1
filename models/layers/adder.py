"""Adder convolutions as layers, and the sum of a residual block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adroit.models.operators.adder_conv2d import adder_conv2d, normalize_gradient
from adroit.models.operators.native import trained_adder_conv2d


class AdderConv2d(nn.Module):
    """The adder convolution (models/operators/adder_conv2d.py) with a square kernel.

    Follow it by a batch norm: its sums are large and negative (means near -3,000 in trained
    networks) and only the norm makes them activations.

    Args:
        in_channels, out_channels: C and M of W [M,C,k,k].
        kernel_size: k in pixels. stride, padding: in pixels.
        eta: length of the normalized weight gradient per element (paper: 0.2 is best).
        bias: whether a number for each filter is added; starts uniform in [0, 1), as the official code has it.

    Attributes:
        normalizes: whether the backward pass normalizes the weight's gradient; where a step has several
            backward passes the training loop turns it off and normalizes their sum.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        eta: float = 0.2,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.eta = stride, padding, eta
        self.normalizes = True
        # Normal(0, 1) whatever the fan-in, as the official code initializes.
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.rand(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Convolves x [N,C,H,W]; returns [N,out,H',W']."""
        weight: Tensor = self.weight
        if self.normalizes and weight.requires_grad and torch.is_grad_enabled():
            weight = normalize_gradient(weight, self.eta)
        convolve = trained_adder_conv2d if self.training else adder_conv2d
        result: Tensor = convolve(x, weight, self.stride, self.padding)
        return result if self.bias is None else result + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """Returns what repr shows in the brackets."""
        shape = "x".join(map(str, self.weight.shape))
        bias = "" if self.bias is None else ", bias=True"
        return f"{shape}, stride={self.stride}, padding={self.padding}{bias}"


class Add(nn.Module):
    """The sum of a residual block, as a module so that it has a name in exported graphs."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Adds two maps of one shape [N,C,H,W]."""
        return a + b


def convolution(
    kind: str, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
) -> nn.Module:
    """A bias-free convolution: `kind` "adder" (AdderConv2d) or "ordinary" (nn.Conv2d)."""
    if kind == "adder":
        return AdderConv2d(in_channels, out_channels, kernel_size, stride, padding)
    if kind == "ordinary":
        return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
    raise ValueError(f"kind of convolution is 'adder' or 'ordinary', not {kind!r}")
