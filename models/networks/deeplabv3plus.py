"""DeepLabV3+ on an anti-aliased ResNet.

Sources: DeepLabV3+, arXiv 1802.02611; with filters, arXiv 2008.09604, section 4.2, whose official
code gives layout and names. The head has no filter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from adroit.models.layers.anti_aliasing import FilterChoice
from adroit.models.networks.anti_aliased_resnet import dilated_backbone

_CHANNELS = 256
_LOW_LEVEL_CHANNELS = 48
# The official training updates the backbone's statistics ten times slower than usual.
_BACKBONE_MOMENTUM = 0.01


class ResizeLike(nn.Module):
    """Resizes [N,C,h,w] to the height and width of another map, bilinear, corners not aligned.

    A module, as is Concatenate, so that it has a name in exported graphs.
    """

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """Resizes x [N,C,h,w] to the height and width of `like`, bilinear."""
        return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class Concatenate(nn.Module):
    """Joins maps [N,C_i,H,W] along their channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Returns one map [N,sum of C_i,H,W]."""
        return torch.cat(maps, 1)


def _unit(in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1) -> list[nn.Module]:
    """Convolution that keeps the size, batch norm, ReLU."""
    padding = kernel_size // 2 * dilation
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, 1, padding, dilation, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]


class SpatialPyramidPooling(nn.Module):
    """ASPP: a 1 x 1, three dilated 3 x 3 convolutions and a global mean, joined and projected to 256 channels."""

    def __init__(self, in_channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Sequential(*_unit(in_channels, _CHANNELS)),
                *(nn.Sequential(*_unit(in_channels, _CHANNELS, 3, rate)) for rate in rates),
                nn.Sequential(nn.AdaptiveAvgPool2d(1), *_unit(in_channels, _CHANNELS)),
            ]
        )
        self.resize = ResizeLike()
        self.concatenate = Concatenate()
        self.project = nn.Sequential(*_unit(5 * _CHANNELS, _CHANNELS), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps features [N,C,h,w] to [N,out,h,w]."""
        *branches, pooled = (conv(x) for conv in self.convs)
        joined = self.concatenate(*branches, self.resize(pooled, x))
        result: Tensor = self.project(joined)
        return result


class Decoder(nn.Module):
    """Joins the pyramid's output with the first stage's and classifies every pixel of the latter's size."""

    def __init__(self, in_channels: int, low_level_channels: int, classes: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.project = nn.Sequential(*_unit(low_level_channels, _LOW_LEVEL_CHANNELS))
        self.aspp = SpatialPyramidPooling(in_channels, rates)
        self.resize = ResizeLike()
        self.concatenate = Concatenate()
        self.classifier = nn.Sequential(
            *_unit(_CHANNELS + _LOW_LEVEL_CHANNELS, _CHANNELS, 3), nn.Conv2d(_CHANNELS, classes, 1)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, low_level: Tensor, deep: Tensor) -> Tensor:
        """Computes logits [N,classes,h,w] at the size of `low_level`."""
        fine = self.project(low_level)
        joined = self.concatenate(fine, self.resize(self.aspp(deep), fine))
        logits: Tensor = self.classifier(joined)
        return logits


class DeepLabV3Plus(nn.Module):
    """Input [N,3,H,W] float32 (preprocessed), output logits [N,classes,H,W].

    Args:
        depth: of the backbone: 50 or 101.
        classes: number of logits of a pixel.
        choice: the backbone's filter. A stage whose stride dilation replaces keeps it, at stride 1.
        output_stride: 16 (the last stage dilated) or 8 (the last two).

    In training a batch needs two images: the pyramid's mean is one pixel, and its batch norm
    takes statistics of it.
    """

    def __init__(self, depth: int, classes: int, choice: FilterChoice, output_stride: int) -> None:
        super().__init__()
        self.backbone = dilated_backbone(depth, choice, output_stride)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _BACKBONE_MOMENTUM
        rates = (6, 12, 18) if output_stride == 16 else (12, 24, 36)
        deep_channels = self.backbone.out_channels
        self.classifier = Decoder(deep_channels, deep_channels // 8, classes, rates)
        self.resize = ResizeLike()

    def forward(self, x: Tensor) -> Tensor:
        """Computes logits [N,classes,H,W] of images [N,3,H,W]."""
        stages = self.backbone.features(x)
        logits: Tensor = self.resize(self.classifier(stages[0], stages[-1]), x)
        return logits
