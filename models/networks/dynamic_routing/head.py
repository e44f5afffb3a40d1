"""From the last layer's four feature maps to logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adroit.models.layers.adder import Add
from adroit.models.networks.dynamic_routing.gate import Samples
from adroit.models.networks.dynamic_routing.layers import ConvNorm, upsample
from adroit.models.routing.space import SCALES, RoutingSpace


class OnlyReached(nn.Module):
    """What a deeper scale adds, [N,C,H,W]: nothing to samples in which nothing reaches that scale."""

    def forward(self, reached: Tensor, x: Tensor) -> Tensor:
        """reached: [N,1,1,1] bool."""
        return torch.where(reached, x, 0.0)


class DecoderHead(nn.Module):
    """Deep to shallow: 1 x 1 convolution, upsampling by 2, sum with the next map; then logits, by 4.

    A sample's decoding begins at the deepest scale that something reaches, as the official code does it at batch 1:
    a map of zeros at a scale that nothing reaches would become a constant by its batch norm.
    """

    def __init__(self, space: RoutingSpace, classes: int) -> None:
        super().__init__()
        channels = [space.channels(scale) for scale in range(SCALES)]
        self.layer_decoder_list = nn.ModuleList(
            ConvNorm(channels[scale], channels[max(scale - 1, 0)], 1) for scale in range(SCALES)
        )
        self.upsample_list = nn.ModuleList(upsample(2) for _ in range(SCALES - 1))
        self.reached_list = nn.ModuleList(OnlyReached() for _ in range(SCALES - 1))
        self.add_list = nn.ModuleList(Add() for _ in range(SCALES - 1))
        self.predictor = nn.Conv2d(channels[0], classes, 3, padding=1)
        self.resize = upsample(4)

    def forward(self, features: Sequence[Tensor | None], reached: Sequence[Samples] = (True,) * SCALES) -> Tensor:
        """Decodes the maps that are there.

        Args:
            features: strides 4 to 32, [N,C,H/4,W/4] first; None where no sample's is there.
            reached: by scale, the samples in which something reaches it; stride 4 always is.

        Returns:
            Logits, [N,classes,H,W].
        """
        x = None
        for scale in reversed(range(SCALES)):
            feature = features[scale]
            if feature is None:
                continue
            if x is not None:
                feature = self._add(scale, x, feature, reached[scale + 1])
            x = self.layer_decoder_list[scale](feature)
        logits: Tensor = self.resize(self.predictor(x))
        return logits

    def _add(self, scale: int, deeper: Tensor, feature: Tensor, reached: Samples) -> Tensor:
        deeper = self.upsample_list[scale](deeper)
        if isinstance(reached, Tensor):
            deeper = self.reached_list[scale](reached, deeper)
        total: Tensor = self.add_list[scale](deeper, feature)
        return total
