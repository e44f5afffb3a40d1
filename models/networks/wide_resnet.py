"""Wide residual networks with pre-activation: BoWNet's WRN-28-10, IGAM's "w10", and narrow ones for CPUs.

Sources: "Wide Residual Networks", arXiv 1605.07146 (blocks, widths 16, 16k, 32k, 64k; without dropout); IGAM,
arXiv 1912.05699, whose official networks have 5 units a stage, leaky ReLU 0.1, and shortcuts without weights.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.layers.adder import Add

Shortcut = Literal["projection", "padding"]


class PaddedShortcut(nn.Module):
    """Average pooling by `stride`, then channels of zeros before and after: [N,C,H,W] to [N,C + 2 * more,Ho,Wo]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        # At odd sizes the last window is cut off, as that of the convolution beside it.
        pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
        self.pool: nn.Module = pool if stride > 1 else nn.Identity()
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Pools x [N,C,H,W] by its mean, and adds channels of zeros."""
        return functional.pad(self.pool(x), [0, 0, 0, 0, self.before, self.after])


class PreActivationBlock(nn.Module):
    """Norm, activation, 3 x 3 convolution, twice; where shapes change, the shortcut starts behind the first."""

    def __init__(self, in_channels: int, width: int, stride: int, slope: float, shortcut: Shortcut) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.act1 = activation(slope)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = activation(slope)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.changes = in_channels != width or stride != 1
        self.shortcut: nn.Module = nn.Identity()
        if self.changes and shortcut == "projection":
            self.shortcut = nn.Conv2d(in_channels, width, 1, stride, bias=False)
        elif self.changes:
            self.shortcut = PaddedShortcut(in_channels, width, stride)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        """Maps x [N,C,H,W] to the block's output [N,out,H/stride,W/stride]."""
        active = self.act1(self.bn1(x))
        out = self.conv2(self.act2(self.bn2(self.conv1(active))))
        result: Tensor = self.add(out, self.shortcut(active if self.changes else x))
        return result


class WideResNet(nn.Module):
    """Input [N,3,H,W] float32 (preprocessed), output logits [N,classes]; its maps are layer1, layer2, layer3.

    Args:
        depth: 6 n + 4, with n units a stage (IGAM's 5 units a stage are depth 34 in this counting).
        widen: k; the stages are 16 k, 32 k and 64 k channels wide.
        slope: of the leaky ReLU below 0; 0 is a ReLU.
        shortcut: where shapes change, a 1 x 1 convolution, or average pooling and zeros (IGAM).
        stem_stride: of the first convolution; 2 makes a network of a quarter of the work, for CPUs.
    """

    def __init__(
        self, depth: int, widen: int, classes: int, slope: float, shortcut: Shortcut, stem_stride: int
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise UsageError(f"the depth of a wide residual network is 10, 16, 22, ... (6 n + 4), not {depth!r}")
        if shortcut not in ("projection", "padding"):
            raise UsageError(f"shortcut is projection or padding, not {shortcut!r}")
        channels = 16
        self.conv1 = nn.Conv2d(3, channels, 3, stem_stride, 1, bias=False)
        for stage in range(3):
            width, blocks = 16 * widen * 2**stage, []
            for unit in range((depth - 4) // 6):
                blocks.append(PreActivationBlock(channels, width, 2 if stage and not unit else 1, slope, shortcut))
                channels = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(channels)
        self.act = activation(slope)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Computes logits [N,classes] of images [N,3,H,W]."""
        x = self.conv1(x)
        for stage in range(3):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        logits: Tensor = self.fc(self.avgpool(self.act(self.bn(x))).flatten(1))
        return logits


def activation(slope: float) -> nn.Module:
    """ReLU where `slope` is 0."""
    return nn.LeakyReLU(slope) if slope else nn.ReLU()
