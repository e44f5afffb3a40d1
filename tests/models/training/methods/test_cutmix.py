"""CutMix against its formula, and its box against what is drawn."""

from __future__ import annotations

import math

import pytest
import torch

from adroit.models.training.augmentation import integer, uniform
from adroit.models.training.methods.cutmix import drawn_box, mixed


def test_the_box_is_the_papers_of_the_same_draws() -> None:
    """Sides sqrt(1 - lambda) of the image's around a center, clipped to the image."""
    for seed in range(50):
        rows, columns = drawn_box(32, 48, torch.Generator().manual_seed(seed))
        generator = torch.Generator().manual_seed(seed)
        side = math.sqrt(1.0 - uniform(generator, 0.0, 1.0))
        for result, length in ((rows, 32), (columns, 48)):
            center, half = integer(generator, length), math.floor(side * length) // 2
            inside = [place for place in range(length) if center - half <= place < center + half]
            assert list(range(length))[result] == inside


def test_pixels_and_targets_are_mixed_by_one_mask() -> None:
    shares = []
    for seed in range(200):
        one = (torch.zeros(3, 16, 24), torch.tensor([1.0, 0.0]))
        x, y = mixed(one, (torch.ones(3, 16, 24), torch.tensor([0.0, 1.0])), torch.Generator().manual_seed(seed))
        assert not one[0].any() and float(y.sum()) == pytest.approx(1.0)
        assert float(y[1]) == pytest.approx(float(x.mean()), abs=1e-6)
        rows, columns = (x[0].any(axis).nonzero().flatten() for axis in (1, 0))
        assert float(x.sum()) == 3 * len(rows) * len(columns), "a rectangle"
        shares.append(float(y[1]))
    assert 0.0 <= min(shares) < 0.05 and 0.7 < max(shares) <= 1.0
