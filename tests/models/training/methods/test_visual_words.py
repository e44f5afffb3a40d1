"""Words, bags and their prediction, by definition."""

from __future__ import annotations

import pytest
import torch

from adroit.models.training.methods.visual_words import ScaledUnitRows, bags_of, drawn_locations, locations, words_of


def test_words_are_the_nearest_of_every_location() -> None:
    maps = torch.randn(3, 4, 2, 5, generator=torch.Generator().manual_seed(0))
    vocabulary = torch.randn(7, 4, generator=torch.Generator().manual_seed(1))
    result = words_of(maps, vocabulary)
    for image in range(3):
        for row in range(2):
            for column in range(5):
                distances = (vocabulary - maps[image, :, row, column]).square().sum(1)
                assert int(result[image, 5 * row + column]) == int(distances.argmin())


def test_bags_are_shares_of_counts_or_of_presence() -> None:
    words = torch.tensor([[0, 2, 2, 2], [1, 1, 1, 1]], dtype=torch.int32)
    torch.testing.assert_close(bags_of(words, 4), torch.tensor([[0.25, 0.0, 0.75, 0.0], [0.0, 1.0, 0.0, 0.0]]))
    torch.testing.assert_close(
        bags_of(words, 4, binary=True), torch.tensor([[0.5, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0]])
    )


def test_locations_are_drawn_from_all_images_and_are_none_but_theirs() -> None:
    maps = torch.arange(2 * 3 * 10 * 10.0).view(2, 3, 10, 10)
    drawn = drawn_locations([maps[:1], maps[1:]], 0.5, torch.Generator().manual_seed(0))
    every = {tuple(v) for v in locations(maps).tolist()}
    assert all(tuple(v) in every for v in drawn.tolist())
    assert 70 < len(drawn) < 130 and float(drawn[:, 0].max()) >= 300.0 > float(drawn[:, 0].min())
    assert len(drawn_locations([maps], 1.0, torch.Generator())) == 200


def test_rows_are_of_the_learnt_length_whatever_the_weights_are() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, -9.0]])
    rows = ScaledUnitRows(2.5)
    torch.testing.assert_close(rows(weight), 2.5 * torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, -1.0]]))
    assert torch.autograd.gradcheck(rows.double(), (weight.double().requires_grad_(),))
    rows(weight.double()).sum().backward()
    assert rows.scale.grad is not None and float(rows.scale.grad) == pytest.approx(0.6 + 0.8 + 0.6 + 0.8 - 1.0)
