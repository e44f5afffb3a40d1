"""All four rotations, counterclockwise, and which they are."""

from __future__ import annotations

import numpy as np
import torch

from models.methods.rotations import all_rotations


def test_every_image_in_all_rotations() -> None:
    x = torch.randn(3, 2, 4, 4)
    turned, quarters = all_rotations(x)
    assert turned.shape == (12, 2, 4, 4) and quarters.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    for place, quarter in enumerate(quarters.tolist()):
        expected = np.rot90(x[place % 3].numpy(), quarter, (1, 2))
        np.testing.assert_array_equal(turned[place].numpy(), expected)
