"""A U-Net for segmentation, with its own preprocessing.

    python examples/2_own_unet.py FOLDER

    adroit export examples/2_own_unet.py:UNet --size 64x96 --task segmentation \\
        --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 -o FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import adroit


def double_convolution(channels: int, filters: int) -> nn.Sequential:
    """Two convolutions with their norms and activations."""
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3, padding=1),
        nn.GroupNorm(4, filters),
        nn.GELU(),
        nn.Conv2d(filters, filters, 3, padding=1),
        nn.GroupNorm(4, filters),
        nn.GELU(),
    )


class UNet(nn.Module):
    """[N,3,H,W] to logits [N,classes,H,W]. It shrinks by filters that the image itself predicts."""

    def __init__(self, classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.encode = double_convolution(3, width)
        self.shrink = adroit.nn.AdaptiveAntiAlias(width, 3, 2, 2)
        self.middle = double_convolution(width, 2 * width)
        self.decode = double_convolution(3 * width, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Any height and width: the map is resized to the size of its partner."""
        fine = self.encode(x)
        coarse = self.middle(self.shrink(fine))
        coarse = interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
        result: Tensor = self.head(self.decode(torch.cat([fine, coarse], 1)))
        return result


def main(folder: Path) -> None:
    """Exports, checks on images of two sizes, and counts classes of pixels."""
    torch.manual_seed(0)
    steps = adroit.Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    adroit.export(UNet().eval(), folder / "unet", size=(64, 96), task="segmentation", preprocessing=steps)

    for size in ((64, 96), (48, 80)):
        photos = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
        report = adroit.check(folder / "unet", images=photos)
        same = f"{report.argmax_equal:.2%} of the pixels have the same class"
        print(f"{size}: {report.output.used:.3f} of the limit used, {same}")

    logits = adroit.run(folder / "unet", photos).outputs["output0"]
    print("pixels of each class:", np.bincount(logits[0].argmax(0).ravel(), minlength=4))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
