"""The two blocks of residual networks, whatever their convolutions are.

Source: "Deep Residual Learning", arXiv 1512.03385, figure 5; names as in torchvision.
"""

from __future__ import annotations

from torch import Tensor, nn

from adroit.models.layers.adder import Add


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions: [N,C,H,W] to [N,width,Ho,Wo].

    Args:
        width: channels of both convolutions' results.
        conv1, conv2: bias-free; a batch norm follows each.
        downsample: the shortcut, to the result's shape.
    """

    expansion = 1

    def __init__(self, width: int, conv1: nn.Module, conv2: nn.Module, downsample: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv1
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv2
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample
        self.add = Add()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps x [N,C,H,W] to the block's output [N,out,H/stride,W/stride]."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        result: Tensor = self.relu2(self.add(out, self.downsample(x)))
        return result


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 convolutions: [N,C,H,W] to [N,4 * width,Ho,Wo]. Arguments as for BasicBlock."""

    expansion = 4

    def __init__(self, width: int, conv1: nn.Module, conv2: nn.Module, conv3: nn.Module, downsample: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv1
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv2
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = conv3
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = downsample
        self.add = Add()
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps x [N,C,H,W] to the block's output [N,out,H/stride,W/stride]."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        result: Tensor = self.relu3(self.add(out, self.downsample(x)))
        return result
