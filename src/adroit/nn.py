"""The layers that adroit adds to PyTorch's, for networks of your own.

    AdderConv2d          a convolution of absolute differences, arXiv 1912.13200
    AdaptiveAntiAlias    a filter that the image itself predicts, arXiv 2008.09604
    BinomialFilter       a fixed filter before pixels are dropped, arXiv 1904.11486
    RoutingGate          the gates of dynamic routing, arXiv 2003.10401

Each takes and gives float32 [N,C,H,W]; `adroit.export` writes each as an operator of its own or as standard ones.

>>> import torch
>>> from adroit import nn
>>> nn.AdderConv2d(3, 16, kernel_size=3, padding=1)(torch.zeros(1, 3, 32, 32)).shape
torch.Size([1, 16, 32, 32])
>>> nn.BinomialFilter(channels=16, filter_size=3, stride=2)(torch.zeros(1, 16, 32, 32)).shape
torch.Size([1, 16, 16, 16])
"""

from __future__ import annotations

from adroit.models.layers.adder import AdderConv2d
from adroit.models.layers.anti_aliasing import AdaptiveAntiAlias, BinomialFilter
from adroit.models.networks.dynamic_routing.gate import SoftGate as RoutingGate

__all__ = ["AdaptiveAntiAlias", "AdderConv2d", "BinomialFilter", "RoutingGate"]
