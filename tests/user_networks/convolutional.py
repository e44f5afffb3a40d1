"""Classifiers of convolutions, in the style of their papers' own code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 4, 1)
        self.fc2 = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.adaptive_avg_pool2d(x, 1)
        scale = F.relu(self.fc1(scale), inplace=True)
        return x * F.hardsigmoid(self.fc2(scale))


class InvertedResidual(nn.Module):
    def __init__(self, channels: int, expanded: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.block = nn.Sequential(
            nn.Conv2d(channels, expanded, 1, bias=False),
            nn.BatchNorm2d(expanded),
            nn.Hardswish(inplace=True),
            nn.Conv2d(expanded, expanded, 3, stride, 1, groups=expanded, bias=False),
            nn.BatchNorm2d(expanded),
            nn.Hardswish(inplace=True),
            SqueezeExcitation(expanded),
            nn.Conv2d(expanded, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.stride == 1 else y


class MobileNetV3Like(nn.Module):
    """Depthwise convolutions, squeeze and excitation, hard swish, dropout before the classifier."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(inplace=True))
        self.blocks = nn.Sequential(*(InvertedResidual(16, 32, stride) for stride in (1, 2, 1)))
        self.classifier = nn.Sequential(
            nn.Linear(16, 32), nn.Hardswish(inplace=True), nn.Dropout(0.2, inplace=True), nn.Linear(32, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
        result: Tensor = self.classifier(x)
        return result


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(0.1 * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x).permute(0, 2, 3, 1)
        y = self.gamma * self.pwconv2(self.act(self.pwconv1(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXtLike(nn.Module):
    """Layer norm over channels last, GELU, a scale for each channel."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.blocks = nn.Sequential(ConvNeXtBlock(16), ConvNeXtBlock(16))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        result: Tensor = self.head(self.norm(x.mean([-2, -1])))
        return result


class DenseNetLike(nn.Module):
    """Every layer sees all earlier ones, joined along the channels."""

    def __init__(self, growth: int = 8, layers: int = 4, classes: int = 10) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(16 + i * growth),
                nn.ReLU(inplace=True),
                nn.Conv2d(16 + i * growth, growth, 3, padding=1, bias=False),
            )
            for i in range(layers)
        )
        self.classifier = nn.Linear(16 + layers * growth, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.conv0(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        x = F.avg_pool2d(F.relu(torch.cat(features, 1)), 2, stride=2)
        result: Tensor = self.classifier(x.mean((2, 3)))
        return result


class GroupedDilated(nn.Module):
    """Grouped, depthwise and dilated convolutions, asymmetric kernels, channel shuffle as ShuffleNet writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(3, 16, (3, 5), padding=(1, 2))
        self.dilated = nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4, padding_mode="reflect")
        self.depthwise = nn.Conv2d(16, 32, 3, padding="same", groups=16, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.grouped(x), 0.1)
        x = F.relu6(self.dilated(x))
        b, c, h, w = x.shape
        x = x.view(b, 4, c // 4, h, w).transpose(1, 2).contiguous().view(b, c, h, w)
        x1, x2 = self.depthwise(x).chunk(2, dim=1)
        return torch.cat([x1 * x2.sigmoid(), torch.maximum(x1, x2)], dim=1)


class GrayDigits(nn.Module):
    """One channel, a network of few layers whose flattened map fixes the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5)
        self.conv2 = nn.Conv2d(8, 16, 5)
        self.fc = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.log_softmax(self.fc(x.view(x.size(0), -1)), dim=1)
