"""What stem, cells and head are made of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from adroit.models.operators.batch_norm import norm_factor_and_offset
from adroit.models.routing.space import StemShape


def folded_convolution(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with `norm` folded in, of the weight's dtype; computed in float64.

    Args:
        weight: [M, ...], of the convolution without bias. norm: what follows it, in evaluation.
    """
    assert norm.running_mean is not None and norm.running_var is not None
    gamma, beta, mean, variance = (t.double() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var))
    factor, offset = norm_factor_and_offset(gamma, beta, mean, variance, norm.eps)
    column = factor.view(-1, *[1] * (weight.dim() - 1))
    return (weight.double() * column).to(weight.dtype), offset.to(weight.dtype)


class ConvNorm(nn.Conv2d):
    """Convolution without bias, batch norm (`norm`), then ReLU (`relu`); [N,C,H,W] in and out."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        relu: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.norm: nn.BatchNorm2d | _FoldedConvolution = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Convolves, normalizes and activates x [N,C,H,W]."""
        h: Tensor = self.norm(x) if isinstance(self.norm, _FoldedConvolution) else self.norm(super().forward(x))
        result: Tensor = self.activation(h)
        return result

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """While it lasts, `norm` is the convolution with itself folded in, as it is now (evaluation only).

        For tracing: an exporter takes several times longer over a batch norm than over a convolution.
        """
        norm = self.norm
        assert isinstance(norm, nn.BatchNorm2d)
        with torch.no_grad():
            self.norm = _FoldedConvolution(self, norm)
        try:
            yield
        finally:
            self.norm = norm


class _FoldedConvolution(nn.Module):
    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        weight, bias = folded_convolution(convolution.weight, norm)
        self.register_buffer("folded_weight", weight)
        self.register_buffer("folded_bias", bias)
        self.stride, self.padding = convolution.stride, convolution.padding

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.get_buffer("folded_weight"), self.get_buffer("folded_bias")
        return functional.conv2d(x, weight, bias, self.stride, self.padding)


def separable(channels: int, stride: int = 1, relu: bool = True, out_channels: int | None = None) -> list[nn.Module]:
    """A depthwise 3 x 3 convolution, with neither norm nor ReLU, and a pointwise one with norm."""
    depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
    return [depthwise, ConvNorm(channels, out_channels or channels, 1, relu=relu)]


def upsample(factor: int) -> nn.Upsample:
    """Bilinear, align_corners False, as all interpolation of the network."""
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)


class DropPath(nn.Module):
    """Drops a branch for a sample with probability `rate` while training, and scales what stays.

    `rate` is set by the schedule (DynamicRouting.set_progress); it is 0 at first.
    """

    def __init__(self, maximum: float) -> None:
        super().__init__()
        self.maximum, self.rate = maximum, 0.0

    def set_progress(self, progress: float) -> None:
        """progress: share of the training that is done, 0 to 1."""
        self.rate = self.maximum * progress

    def forward(self, x: Tensor) -> Tensor:
        """Drops whole samples of x [N,C,H,W] in training, and scales the others up."""
        if not self.training or self.rate == 0.0:
            return x
        alive = torch.rand(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device) >= self.rate
        return x * alive / (1.0 - self.rate)


class Stem(nn.Module):
    """[N,3,H,W] to [N,width,H/4,W/4]. The first convolution has no padding: H/2 - 1 by W/2 - 1 after it.

    Args:
        width: channels of the output. shape: see StemShape.
    """

    def __init__(self, width: int, shape: StemShape) -> None:
        super().__init__()
        inner = shape.inner(width)
        self.stem_1 = ConvNorm(3, inner, 3, 2)
        self.stem_2: nn.Module
        self.stem_3: nn.Module
        if shape.separable:
            self.stem_2 = nn.Sequential(*separable(inner))
            self.stem_3 = nn.Sequential(*separable(inner, stride=2, out_channels=width))
        else:
            self.stem_2, self.stem_3 = ConvNorm(inner, inner, 3, 1, 1), ConvNorm(inner, width, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images [N,3,H,W] to [N,width,H/4,W/4]."""
        result: Tensor = self.stem_3(self.stem_2(self.stem_1(x)))
        return result
