"""Pixel values 0 to 255 seen from behind the preprocessing: where attacks and changes of color are defined."""

from __future__ import annotations

import torch
from torch import Tensor

from adroit.models.data.preprocessing import Preprocessing


class Pixels:
    """Where pixel values lie in a network's input; all three are [C,1,1] float32.

    Attributes:
        low, high: the input's values of the pixel values 0 and 255. unit: the step of one pixel value.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
        self.low = -mean / std
        self.high = (255.0 / preprocessing.divisor - mean) / std
        self.unit = 1.0 / (preprocessing.divisor * std)

    def shares(self, x: Tensor) -> Tensor:
        """Inputs [N,C,H,W] as shares of the full value, 0 to 1; differentiable, as `inputs` is."""
        return (x - self.low.to(x)) / (self.high - self.low).to(x)

    def inputs(self, shares: Tensor) -> Tensor:
        """What `shares` undoes."""
        return self.low.to(shares) + shares * (self.high - self.low).to(shares)
