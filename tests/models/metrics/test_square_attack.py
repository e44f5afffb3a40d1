"""The Square attack by its algorithm, within its limits, and against a network whose gradients mislead."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from adroit.models.metrics.adversarial import Attack, right_under, robust_accuracy
from adroit.models.metrics.square_attack import SquareAttack, margins, square_attacked, square_side
from tests.models.metrics.test_adversarial import PIXELS, inputs

HALVED = {10: 1, 50: 2, 200: 3, 1000: 4, 2000: 5, 4000: 6, 6000: 7, 8000: 8}


class Steps(nn.Module):
    """A linear classifier of inputs that are rounded first: its gradients are 0, its answers as easily changed."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(2, 192, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        rounded = (x * 200).round() / 200
        return rounded.detach().flatten(1) @ self.weight.T + 0.0 * x.sum()


def test_sides_follow_the_papers_schedule() -> None:
    attack = SquareAttack(queries=10_000, area=0.3)
    for query in (1, 10, 11, 50, 51, 200, 201, 1000, 1001, 4001, 8001, 10_000):
        halvings = max((count for after, count in HALVED.items() if query > after), default=0)
        assert square_side(query, attack, 32, 32) == max(1, round(math.sqrt(0.3 * 0.5**halvings) * 32))
    assert square_side(2, SquareAttack(queries=1000), 32, 32) == round(math.sqrt(0.4) * 32), "scaled to the queries"
    assert square_side(1, SquareAttack(area=1.0), 8, 20) == 8


def test_margins_are_the_labels_logit_above_the_largest_other() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.5], [0.0, -1.0, 4.0]])
    torch.testing.assert_close(margins(logits, torch.tensor([0, 1])), torch.tensor([0.5, -5.0]))


def test_what_is_found_is_in_the_ball_and_never_better_than_the_image() -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), inputs(12)
    y = torch.arange(12) % 3
    result = square_attacked(network, x, y, SquareAttack(6.0, 40), PIXELS, torch.Generator().manual_seed(1))
    change = (result - x).abs() / PIXELS.unit
    assert 5.9 < float(change.max()) <= 6.0 * (1 + 1e-4)
    assert bool((result >= PIXELS.low).all()) and bool((result <= PIXELS.high).all())
    with torch.no_grad():
        before, after = margins(network(x), y), margins(network(result), y)
    right = before > 0
    assert bool((after[right] < before[right]).all()) and 2 < int(right.sum()) < 12
    assert torch.equal(result[~right], x[~right]), "what is wrong already is left alone"
    again = square_attacked(network, x, y, SquareAttack(6.0, 40), PIXELS, torch.Generator().manual_seed(1))
    assert torch.equal(result, again)


def test_the_first_query_is_of_stripes() -> None:
    network, x, y = nn.Sequential(nn.Flatten(), nn.Linear(192, 2, bias=False)), 0.1 * inputs(40), torch.zeros(40).long()
    result = square_attacked(network, x, y, SquareAttack(2.0, 1), PIXELS, torch.Generator().manual_seed(0))
    changed = (result - x).flatten(1).any(1)
    assert bool(changed.any())
    moved = ((result - x) / PIXELS.unit)[changed]
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 2.0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved, moved[:, :, :1].expand_as(moved), rtol=1e-3, atol=1e-3)


def test_it_sees_through_gradients_that_mislead() -> None:
    """PGD finds nothing in a staircase; the search lowers margins by nearly what a linear classifier's would fall."""
    network, x = Steps(), 0.2 * inputs(64)
    with torch.no_grad():
        y = network(x).argmax(1)
    batches = [(x[:40], y[:40]), (x[40:], y[40:])]
    assert robust_accuracy(network, batches, Attack(3.0, 1.0, 20, random_start=False), PIXELS) == 1.0

    def squares(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        return square_attacked(network, x, y, SquareAttack(3.0, 300), PIXELS, generator)

    left = right_under(network, batches, squares)
    with torch.no_grad():
        distance = margins(network(x), y)
        difference = (network.weight[0] - network.weight[1]).view(3, 8, 8) * PIXELS.unit
    fallen = distance < 3.0 * difference.abs().sum()  # what the strongest attack of a linear one brings down
    assert not bool((~left & ~fallen & (distance > 3.3 * difference.abs().sum())).any())
    assert 0.5 * float(fallen.double().mean()) < 1.0 - float(left.double().mean()) < 1.0
