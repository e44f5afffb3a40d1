"""The exits that self-regulation gives a network while it trains."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from adroit.models.losses.self_regulation import ExitAnswers


class ExitHeads(nn.Module):
    """What turns the features at every exit, and the network's own logits, into answers.

    As in the official code an exit has two 3 x 3 convolutions with batch norm and ReLU (they make the features
    of SR-F, so that they are of one size at all exits: the paper's own projection is not known to us), a 1 x 1
    convolution to logits, and a linear layer from their mean to the image's. The last exit's logits are the
    network's own. For classification the linear layer stands on the mean of the features.

    Args:
        in_channels: of the features, shallow to deep; at least two.
        channels: M. classes: of the task. of_pixels: whether the task is segmentation.
        projects_last: whether the last exit's features are projected; if not, they stay as they are. (A layer
            that gets no gradient would stop a training on several GPUs.)
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int, classes: int, of_pixels: bool, projects_last: bool = True
    ) -> None:
        super().__init__()
        self.of_pixels = of_pixels
        projected = in_channels if projects_last else in_channels[:-1]
        self.projections = nn.ModuleList(
            nn.Sequential(*_unit(before, channels), *_unit(channels, channels)) for before in projected
        )
        if of_pixels:
            self.classifiers = nn.ModuleList(nn.Conv2d(channels, classes, 1) for _ in in_channels[1:])
            self.images = nn.ModuleList(nn.Linear(classes, classes) for _ in in_channels)
        else:
            self.images = nn.ModuleList(nn.Linear(channels, classes) for _ in in_channels[1:])

    def forward(self, features: Sequence[Tensor], logits: Tensor) -> list[ExitAnswers]:
        """Of features [N,C,h,w], shallow to deep, and the network's logits [N,classes(,H,W)]."""
        projected = [projection(x) for projection, x in zip(self.projections, features, strict=False)]
        projected += features[len(projected) :]
        if not self.of_pixels:
            images = [image(x.mean((2, 3))) for image, x in zip(self.images, projected, strict=False)]
            return [ExitAnswers(x, None, image) for x, image in zip(projected, [*images, logits], strict=True)]
        pixels = [classify(x) for classify, x in zip(self.classifiers, projected, strict=False)]
        images = [image(x.mean((2, 3))) for image, x in zip(self.images, [*pixels, logits], strict=True)]
        full = [functional.interpolate(x, logits.shape[2:], mode="bilinear", align_corners=False) for x in pixels]
        return [ExitAnswers(*parts) for parts in zip(projected, [*full, logits], images, strict=True)]


def _unit(in_channels: int, channels: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU()]
