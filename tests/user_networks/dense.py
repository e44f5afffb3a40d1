"""Networks with a result for each pixel: U-Nets, a feature pyramid, two inputs and two outputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """The usual U-Net; `up` is nearest, bilinear or transposed. Odd sizes are padded as the well-known code does."""

    def __init__(self, up: str, classes: int = 3) -> None:
        super().__init__()
        self.inc, self.down1, self.down2 = _double(3, 8), _double(8, 16), _double(16, 32)
        self.pool = nn.MaxPool2d(2)
        if up == "transposed":
            self.up1: nn.Module = nn.ConvTranspose2d(32, 16, 2, stride=2)
            self.up2: nn.Module = nn.ConvTranspose2d(16, 8, 2, stride=2)
        else:
            align = None if up == "nearest" else True
            self.up1 = nn.Sequential(nn.Upsample(scale_factor=2, mode=up, align_corners=align), nn.Conv2d(32, 16, 1))
            self.up2 = nn.Sequential(nn.Upsample(scale_factor=2, mode=up, align_corners=align), nn.Conv2d(16, 8, 1))
        self.dec1, self.dec2 = _double(32, 16), _double(16, 8)
        self.outc = nn.Conv2d(8, classes, 1)

    @staticmethod
    def _join(x: Tensor, skip: Tensor) -> Tensor:
        dy, dx = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
        x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return torch.cat([skip, x], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.inc(x)
        x2 = self.down1(self.pool(x1))
        x3 = self.down2(self.pool(x2))
        y = self.dec1(self._join(self.up1(x3), x2))
        y = self.dec2(self._join(self.up2(y), x1))
        result: Tensor = self.outc(y)
        return result


class SegmentationHead(nn.Module):
    """Bilinear upsampling to the input's own size, as torchvision's segmentation networks do; a dictionary."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.SiLU())
        self.classifier, self.aux = nn.Conv2d(16, classes, 1), nn.Conv2d(16, classes, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        size = x.shape[-2:]
        features = self.backbone(x)
        out = F.interpolate(self.classifier(features), size=size, mode="bilinear", align_corners=False)
        aux = F.interpolate(self.aux(features), size=size, mode="bicubic", align_corners=False)
        return {"out": out, "aux": aux}


class FeaturePyramid(nn.Module):
    """Lateral convolutions and a way down from the top; a dictionary of levels."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 16, 32)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.GroupNorm(4, o), nn.ReLU())
            for i, o in zip((3, *widths), widths, strict=False)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, 16, 1) for width in widths)
        self.smooth = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in widths)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        levels = [lateral(f) for lateral, f in zip(self.lateral, features, strict=True)]
        for i in (1, 0):
            levels[i] = levels[i] + F.interpolate(levels[i + 1], size=levels[i].shape[-2:], mode="nearest")
        return {f"p{i + 3}": smooth(level) for i, (smooth, level) in enumerate(zip(self.smooth, levels, strict=True))}


class TwoEyes(nn.Module):
    """Two inputs, two outputs: left and right image to a disparity by their correlation, and its confidence."""

    def __init__(self, shifts: int = 4) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ELU(), nn.Conv2d(8, 8, 3, padding=1))
        self.shifts = shifts

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.encoder(left), self.encoder(right)
        costs = [(a * torch.roll(b, i, dims=3)).mean(1) for i in range(self.shifts)]
        volume = torch.stack(costs, 1).softmax(1)
        positions = torch.arange(self.shifts, dtype=volume.dtype, device=volume.device).view(1, -1, 1, 1)
        return (volume * positions).sum(1, keepdim=True), volume.amax(1, keepdim=True)


class ImageAndState(nn.Module):
    """An image and a vector of measurements: an action and a value, as in control."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten())
        self.state = nn.Sequential(nn.Linear(4, 16), nn.Tanh())
        self.actor, self.critic = nn.Linear(48, 3), nn.Linear(48, 1)

    def forward(self, image: Tensor, state: Tensor) -> dict[str, Tensor]:
        x = torch.cat((self.vision(image / 255.0), self.state(state)), dim=-1)
        return {"action": torch.tanh(self.actor(x)), "value": self.critic(x).squeeze(-1)}
