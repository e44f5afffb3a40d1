"""VGG-small and LeNet-5-BN of AdderNet (arXiv 1912.13200, section 4).

The paper's exact widths of VGG-small are unpublished: the usual ones are taken (128, 128, 256, 256,
512, 512 and one fully connected layer).
"""

from __future__ import annotations

from torch import Tensor, nn

from adroit.models.layers.adder import convolution


def _unit(conv: nn.Module, channels: int, pool: bool = False) -> list[nn.Module]:
    layers = [conv, nn.BatchNorm2d(channels), nn.ReLU()]
    return [*layers, nn.MaxPool2d(2)] if pool else layers


class VggSmall(nn.Module):
    """Input [N,3,32,32] float32, output logits [N,classes]. First and last layer are ordinary."""

    def __init__(self, classes: int, kind: str) -> None:
        super().__init__()
        layers = _unit(nn.Conv2d(3, 128, 3, 1, 1, bias=False), 128)
        channels = 128
        for width, pool in [(128, True), (256, False), (256, True), (512, False), (512, True)]:
            layers += _unit(convolution(kind, channels, width, 3, 1, 1), width, pool)
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(512 * 4 * 4, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Computes logits [N,classes] of images [N,3,32,32]."""
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


class LeNet5BN(nn.Module):
    """Input [N,1,32,32] float32, output logits [N,classes].

    LeNet-5 with a batch norm after every layer. All layers but the last are of `kind`; the fully
    connected ones are 1 x 1 convolutions, as the paper treats them.
    """

    def __init__(self, classes: int, kind: str) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_unit(convolution(kind, 1, 6, 5), 6, pool=True),
            *_unit(convolution(kind, 6, 16, 5), 16, pool=True),
            *_unit(convolution(kind, 16, 120, 5), 120),
            *_unit(convolution(kind, 120, 84, 1), 84),
        )
        self.classifier = nn.Conv2d(84, classes, 1, bias=False)
        self.norm = nn.BatchNorm2d(classes)

    def forward(self, x: Tensor) -> Tensor:
        """Computes logits [N,classes] of images [N,1,32,32]."""
        return self.norm(self.classifier(self.features(x))).flatten(1)  # type: ignore[no-any-return]
