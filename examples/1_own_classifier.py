"""A classifier of one's own, from PyTorch to a deployment that is checked.

    python examples/1_own_classifier.py FOLDER

The same from the command line, with this file as the source:

    adroit export examples/1_own_classifier.py:Classifier --size 32x32 --labels labels.txt -o FOLDER
    adroit check FOLDER/Classifier --data photos
    adroit run FOLDER/Classifier --data photos --top 3
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import adroit

LABELS = ["cat", "dog", "ship"]


class Block(nn.Module):
    """A residual block of a MobileNet: expand, filter each channel by itself, project."""

    def __init__(self, channels: int, expand: int = 4) -> None:
        super().__init__()
        inner = channels * expand
        self.layers = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.SiLU(),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.SiLU(),
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,H,W] to the same shape."""
        result: Tensor = x + self.layers(x)
        return result


class Classifier(nn.Module):
    """[N,3,H,W] to logits [N,classes]; the first layer is an adder convolution."""

    def __init__(self, classes: int = len(LABELS)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            adroit.nn.AdderConv2d(3, 16, kernel_size=3, stride=2, padding=1), nn.BatchNorm2d(16), nn.SiLU()
        )
        self.blocks = nn.Sequential(Block(16), Block(16))
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Pooled over all positions, so that any size works."""
        result: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return result


def main(folder: Path) -> None:
    """Exports the network with random weights, checks it on noise, and runs it without PyTorch."""
    torch.manual_seed(0)
    network = Classifier().eval()
    adroit.export(network, folder / "classifier", example=torch.zeros(1, 3, 32, 32), labels=LABELS, on_note=print)

    photos = np.random.default_rng(0).integers(0, 256, (8, 40, 48, 3), np.uint8)
    report = adroit.check(folder / "classifier", images=photos)
    print(f"{'passed' if report.passed else 'FAILED'}: {report.output.used:.3f} of the limit used")

    with adroit.open(folder / "classifier") as net:
        best = net.predict(photos[0], top=1)[0]
        print(f"{best.label}: {best.probability:.1%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
