"""A network of public code: its adder layers become adroit's, weights and all.

    python examples/3_adopt_public_code.py FOLDER

Layers are recognized by class name and attributes, and each pair must agree in float64 before it is replaced. The
class below has the name and the attributes of AdderNet's published `adder2d`; take the published file in its place.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

import adroit


class adder2d(nn.Module):
    """A convolution of L1 distances, written out with ordinary operations: slow, and no exporter fuses it."""

    def __init__(self, input_channel: int, output_channel: int, kernel_size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.input_channel, self.output_channel, self.kernel_size = input_channel, output_channel, kernel_size
        self.stride, self.padding, self.bias = stride, padding, False
        self.adder = nn.Parameter(torch.randn(output_channel, input_channel, kernel_size, kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,H,W] to [N,filters,H',W']."""
        height, width = ((side + 2 * self.padding - self.kernel_size) // self.stride + 1 for side in x.shape[2:])
        windows = unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        distances = (windows[:, None] - self.adder.flatten(1)[None, :, :, None]).abs().sum(2)
        return -distances.view(x.shape[0], self.output_channel, height, width)


class Published(nn.Module):
    """Two such layers, as a published network would have twenty."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.first, self.norm1 = adder2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.second, self.norm2 = adder2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32)
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N,3,H,W] to logits [N,classes]."""
        x = torch.relu(self.norm1(self.first(x)))
        x = torch.relu(self.norm2(self.second(x)))
        result: Tensor = self.head(x.mean((2, 3)))
        return result


def main(folder: Path) -> None:
    """Exports the network as it is and adopted, and measures both in one run."""
    torch.manual_seed(0)
    network = Published()
    for _ in range(30):
        network(torch.randn(8, 3, 32, 32))  # norms learn their statistics
    network.eval()
    as_it_is = adroit.export(network, folder / "as_it_is", size=(32, 32), adopt=False, on_note=print)
    adopted = adroit.export(network, folder / "adopted", size=(32, 32), on_note=print)

    images = {"image": torch.randn(4, 3, 32, 32).numpy()}
    print("adopted:", adroit.check(adopted, images, network=network).passed)
    report = adroit.profile([as_it_is, adopted], threads=1, seconds=0.5)
    slow, fast = (candidate.latency.median for candidate in report.candidates)
    print(f"{slow / fast:.0f} times as fast")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
