"""Random tensors of cases that run on any device."""

from __future__ import annotations

import torch
from torch import Tensor


def noise(seed: int, shape: tuple[int, ...], dtype: torch.dtype, device: str, spread: float = 1.0) -> Tensor:
    """Draws the same numbers on every device; rounded to `dtype` at once, so that references see what kernels see."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * spread).to(device, dtype)
