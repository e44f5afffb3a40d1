"""Images turned by quarters, and which quarter it was. Source: RotNet, arXiv 1803.07728."""

from __future__ import annotations

import torch
from torch import Tensor

ANGLES = ("0", "90", "180", "270")


def all_rotations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Square images [N,C,S,S] in all four rotations, [4N,C,S,S], and which it is: [4N] int64.

    The paper's batches hold all four of every image, the first N unturned.
    """
    turned = torch.cat([torch.rot90(x, quarter, (2, 3)) for quarter in range(len(ANGLES))])
    return turned, torch.arange(len(ANGLES)).repeat_interleave(len(x))
