"""Residual networks with a filter wherever they drop pixels: adaptive, fixed binomial, or none.

Source: arXiv 2008.09604, section 4; layout and names of the official code, so that its checkpoints
fit. With filter "none" they are the plain networks under torchvision's names.

A layer that would stride runs at stride 1, and the filter takes the stride between it and the next
convolution, after the ReLU: in front of a basic block's second and a bottleneck's third convolution,
in front of a shortcut's convolution, and after a max pooling of stride 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.layers.anti_aliasing import FilterChoice
from adroit.models.networks.residual import BasicBlock, Bottleneck


class FilteredBasicBlock(BasicBlock):
    """A filter in front of the second convolution; `resamples`: whether the plain network strides here.

    It does so even at stride 1 where dilation took the stride's place: the filter stays.
    """

    def __init__(
        self, choice: FilterChoice, in_channels: int, width: int, resamples: bool, stride: int = 1, dilation: int = 1
    ) -> None:
        filters = resamples and choice.kind != "none"
        conv1 = _conv3x3(in_channels, width, 1 if filters else stride, dilation)
        conv2: nn.Module = _conv3x3(width, width, 1, dilation)
        if filters:
            conv2 = nn.Sequential(choice.layer(width, stride), conv2)
        super().__init__(width, conv1, conv2, shortcut(choice, in_channels, width, resamples, stride))


class FilteredBottleneck(Bottleneck):
    """A filter in front of the third convolution; in the plain network the second one strides."""

    def __init__(
        self, choice: FilterChoice, in_channels: int, width: int, resamples: bool, stride: int = 1, dilation: int = 1
    ) -> None:
        filters = resamples and choice.kind != "none"
        out_channels = width * self.expansion
        conv1 = _conv1x1(in_channels, width)
        conv2 = _conv3x3(width, width, 1 if filters else stride, dilation)
        conv3: nn.Module = _conv1x1(width, out_channels)
        if filters:
            conv3 = nn.Sequential(choice.layer(width, stride), conv3)
        super().__init__(width, conv1, conv2, conv3, shortcut(choice, in_channels, out_channels, resamples, stride))


def _conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


def _conv3x3(in_channels: int, out_channels: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, bias=False)


def shortcut(choice: FilterChoice, in_channels: int, out_channels: int, resamples: bool, stride: int) -> nn.Module:
    """Identity, or filter (where the block resamples), 1 x 1 convolution and batch norm."""
    if not resamples and in_channels == out_channels:
        return nn.Identity()
    if not resamples or choice.kind == "none":
        return nn.Sequential(_conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))
    return nn.Sequential(
        choice.layer(in_channels, stride), _conv1x1(in_channels, out_channels), nn.BatchNorm2d(out_channels)
    )


def _imagenet_pooling(choice: FilterChoice, channels: int, pool_only: bool) -> tuple[int, nn.Module]:
    """Stride of the first convolution, and what follows its ReLU; together they divide the size by 4."""
    if choice.kind == "none":
        return 2, nn.MaxPool2d(3, 2, 1)
    pool: list[nn.Module] = [nn.MaxPool2d(2, 1), choice.layer(channels, 2)]
    return (2, nn.Sequential(*pool)) if pool_only else (1, nn.Sequential(choice.layer(channels, 2), *pool))


class AntiAliasedResNet(nn.Module):
    """Input [N,3,H,W] float32 (preprocessed), output logits [N,classes].

    Args:
        block: FilteredBasicBlock or FilteredBottleneck.
        depths, widths: blocks and base channels of each stage; stages after the first halve the size.
        choice: the filter.
        classes: number of logits; None for a backbone without classifier (then call `features`).
        stem: "imagenet" (7 x 7 stride 2 convolution and max pooling) or "cifar" (one 3 x 3 convolution).
        pool_only: whether the first convolution of the imagenet stem strides by itself; if not, it
            runs at full resolution and a filter follows it too.
        dilated: for each stage, whether dilation takes the place of its stride.
    """

    def __init__(
        self,
        block: type[FilteredBasicBlock] | type[FilteredBottleneck],
        depths: Sequence[int],
        widths: Sequence[int],
        choice: FilterChoice,
        classes: int | None,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        pool_only: bool = True,
        dilated: Sequence[bool] = (False, False, False, False),
    ) -> None:
        super().__init__()
        channels = widths[0]
        if stem == "imagenet":
            stride, pooling = _imagenet_pooling(choice, channels, pool_only)
            self.conv1 = nn.Conv2d(3, channels, 7, stride, 3, bias=False)
        else:
            self.conv1, pooling = nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.Identity()
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.maxpool = pooling
        self.stages = len(depths)
        dilation = 1
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            first_dilation, stride = dilation, 2 if stage > 0 else 1
            if dilated[stage]:
                dilation, stride = dilation * stride, 1
            blocks = [block(choice, channels, width, stage > 0, stride, first_dilation)]
            channels = width * block.expansion
            blocks += [block(choice, channels, width, False, 1, dilation) for _ in range(depth - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool: nn.Module | None = None
        if classes is not None:
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(channels, classes)
        self.out_channels = channels
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> list[Tensor]:
        """The output of each stage."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = []
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
            outputs.append(x)
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        """Computes logits [N,classes] of images [N,3,H,W]."""
        assert self.avgpool is not None, "a backbone has no classifier"
        logits: Tensor = self.fc(self.avgpool(self.features(x)[-1]).flatten(1))
        return logits


_BLOCKS: dict[int, tuple[type[FilteredBasicBlock] | type[FilteredBottleneck], list[int]]] = {
    18: (FilteredBasicBlock, [2, 2, 2, 2]),
    34: (FilteredBasicBlock, [3, 4, 6, 3]),
    50: (FilteredBottleneck, [3, 4, 6, 3]),
    101: (FilteredBottleneck, [3, 4, 23, 3]),
    152: (FilteredBottleneck, [3, 8, 36, 3]),
}


def anti_aliased_resnet(depth: int, classes: int, choice: FilterChoice, pool_only: bool) -> AntiAliasedResNet:
    """ResNet-18, 34, 50, 101 or 152: widths 64, 128, 256, 512."""
    block, depths = _BLOCKS[depth]
    return AntiAliasedResNet(block, depths, [64, 128, 256, 512], choice, classes, pool_only=pool_only)


def dilated_backbone(depth: int, choice: FilterChoice, output_stride: int) -> AntiAliasedResNet:
    """Without classifier, its last map a 16th or an 8th of the input's size."""
    if output_stride not in (8, 16):
        raise UsageError(f"output_stride is 8 or 16, not {output_stride!r}")
    block, depths = _BLOCKS[depth]
    dilated = (False, False, output_stride == 8, True)
    return AntiAliasedResNet(block, depths, [64, 128, 256, 512], choice, None, dilated=dilated)


def anti_aliased_cifar_resnet(
    blocks_per_stage: int, width: int, classes: int, choice: FilterChoice
) -> AntiAliasedResNet:
    """ResNet-20 (3 blocks a stage) for images of 32 x 32 pixels: widths width, 2 width, 4 width."""
    widths = [width, 2 * width, 4 * width]
    return AntiAliasedResNet(
        FilteredBasicBlock, [blocks_per_stage] * 3, widths, choice, classes, "cifar", dilated=(False, False, False)
    )
