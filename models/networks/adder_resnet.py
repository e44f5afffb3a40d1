"""Residual networks of adder convolutions, and of ordinary ones for comparison.

Source: AdderNet, arXiv 1912.13200, section 4; layout and names of the official code, so that its
checkpoints fit. The first convolution and the classifier stay ordinary, and a batch norm follows
the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from adroit.models.layers.adder import convolution
from adroit.models.networks.residual import BasicBlock, Bottleneck


class AdderBasicBlock(BasicBlock):
    """The first convolution strides; `kind` as in AdderResNet."""

    def __init__(self, kind: str, in_channels: int, width: int, stride: int) -> None:
        super().__init__(
            width,
            convolution(kind, in_channels, width, 3, stride, 1),
            convolution(kind, width, width, 3, 1, 1),
            shortcut(kind, in_channels, width, stride),
        )


class AdderBottleneck(Bottleneck):
    """The 3 x 3 convolution strides; `kind` as in AdderResNet."""

    def __init__(self, kind: str, in_channels: int, width: int, stride: int) -> None:
        out_channels = width * self.expansion
        super().__init__(
            width,
            convolution(kind, in_channels, width, 1),
            convolution(kind, width, width, 3, stride, 1),
            convolution(kind, width, out_channels, 1),
            shortcut(kind, in_channels, out_channels, stride),
        )


def shortcut(kind: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Identity, or a 1 x 1 convolution and batch norm where the shape changes."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(convolution(kind, in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


class AdderResNet(nn.Module):
    """Input [N,3,H,W] float32 (preprocessed), output logits [N,classes].

    Args:
        block: AdderBasicBlock or AdderBottleneck.
        depths, widths: blocks and base channels of each stage; stages after the first halve the size.
        imagenet_stem: 7 x 7 stride 2 convolution and max pooling, else one 3 x 3 convolution (CIFAR).
        classes: number of logits.
        kind: "adder" or "ordinary" convolutions inside the stages.
    """

    def __init__(
        self,
        block: type[AdderBasicBlock] | type[AdderBottleneck],
        depths: Sequence[int],
        widths: Sequence[int],
        imagenet_stem: bool,
        classes: int,
        kind: str,
    ) -> None:
        super().__init__()
        channels = widths[0]
        if imagenet_stem:
            self.conv1 = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1)
        else:
            self.conv1 = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.stages = len(depths)
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(kind, channels, width, stride))
                channels = width * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        # The official ImageNet classifier has a bias, the CIFAR one has none.
        self.fc = nn.Conv2d(channels, classes, 1, bias=imagenet_stem)
        self.bn2 = nn.BatchNorm2d(classes)

    def forward(self, x: Tensor) -> Tensor:
        """Computes logits [N,classes] of images [N,3,H,W]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        x = self.bn2(self.fc(self.avgpool(x)))
        return x.flatten(1)


def cifar_resnet(blocks_per_stage: int, classes: int, kind: str) -> AdderResNet:
    """ResNet-20 (3 blocks a stage), ResNet-32 (5): widths 16, 32, 64."""
    return AdderResNet(AdderBasicBlock, [blocks_per_stage] * 3, [16, 32, 64], False, classes, kind)


def imagenet_resnet(depth: int, classes: int, kind: str) -> AdderResNet:
    """ResNet-18 or ResNet-50: widths 64, 128, 256, 512."""
    block: type[AdderBasicBlock] | type[AdderBottleneck] = AdderBasicBlock if depth == 18 else AdderBottleneck
    depths = {18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}[depth]
    return AdderResNet(block, depths, [64, 128, 256, 512], True, classes, kind)
