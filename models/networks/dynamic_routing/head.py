"""From the last layer's four feature maps to logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from adroit.models.layers.adder import Add
from adroit.models.networks.dynamic_routing.layers import ConvNorm, upsample
from adroit.models.routing.space import SCALES, RoutingSpace


class DecoderHead(nn.Module):
    """Deep to shallow: 1 x 1 convolution, upsampling by 2, sum with the next map; then logits, by 4."""

    def __init__(self, space: RoutingSpace, classes: int) -> None:
        super().__init__()
        channels = [space.channels(scale) for scale in range(SCALES)]
        self.layer_decoder_list = nn.ModuleList(
            ConvNorm(channels[scale], channels[max(scale - 1, 0)], 1) for scale in range(SCALES)
        )
        self.upsample_list = nn.ModuleList(upsample(2) for _ in range(SCALES - 1))
        self.add_list = nn.ModuleList(Add() for _ in range(SCALES - 1))
        self.predictor = nn.Conv2d(channels[0], classes, 3, padding=1)
        self.resize = upsample(4)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """features: strides 4 to 32, [N,C,H/4,W/4] first; returns [N,classes,H,W]."""
        x: Tensor = self.layer_decoder_list[SCALES - 1](features[SCALES - 1])
        for scale in reversed(range(SCALES - 1)):
            x = self.add_list[scale](self.upsample_list[scale](x), features[scale])
            x = self.layer_decoder_list[scale](x)
        logits: Tensor = self.resize(self.predictor(x))
        return logits
