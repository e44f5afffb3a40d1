"""A small stored reference that the tests damage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adroit.deploy.reference.store import PROGRAM, read_reference
from adroit.errors import AdroitError

Json = dict[str, Any]


class Small(nn.Module):
    """A convolution, a list, sizes, a branch: every kind of node."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.conv(x).chunk(2, 1)
        y = (a * b.sigmoid()).view(x.shape[0], 2, -1)
        y = torch.cond(y.mean() > 0, lambda y: y.relu(), lambda y: y * 0.5, (y,))
        return y + torch.full((y.shape[2],), 0.5)


def refusal(stored: Path, tmp_path: Path, text: str | bytes) -> AdroitError:
    """The error that a reference with this program is refused with."""
    folder = tmp_path / "changed"
    shutil.copytree(stored, folder)
    (folder / PROGRAM).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(AdroitError) as caught:
        read_reference(folder)
    return caught.value
