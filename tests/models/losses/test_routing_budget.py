"""The budget loss: expected cost, schedule, and the pull on the gates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adroit.errors import UsageError
from adroit.models.losses.routing_budget import BUDGETS, OFFICIAL_FULL_COST, BudgetLoss, BudgetSchedule
from adroit.models.routing.cost import cost_table
from adroit.models.routing.space import INIT, RoutingSpace

SPACE = RoutingSpace(16)
COSTS = cost_table(SPACE, (768, 768), 19, "small", "paper")


def test_the_expected_share_is_the_cost_tables() -> None:
    gates = torch.rand(3, len(SPACE.paths), dtype=torch.float64)
    share = BudgetLoss(COSTS, BUDGETS["dynamic-a"], OFFICIAL_FULL_COST).double().expected_share(gates)
    np.testing.assert_allclose(share.numpy(), COSTS.expected(gates.numpy()) / 26.3e9, rtol=1e-6)
    everything = BudgetLoss(COSTS, BUDGETS["dynamic-a"]).expected_share(torch.ones(1, len(SPACE.paths)))
    assert float(everything) == pytest.approx(1.0, rel=1e-6)


def test_the_loss_is_the_squared_excess_of_the_mean() -> None:
    loss = BudgetLoss(COSTS, BudgetSchedule(0.5, 0.2))
    gates = torch.cat([torch.zeros(1, len(SPACE.paths)), torch.ones(1, len(SPACE.paths))])
    assert float(loss(gates, 1.0)) == pytest.approx(0.5 * (0.5 - 0.2) ** 2, rel=1e-5)


def test_what_is_not_steered_has_no_gradient() -> None:
    """The init node's cell and the last layer's keep paths cost nothing by themselves."""
    gates = torch.full((1, len(SPACE.paths)), 0.5)
    gates[0, SPACE.gates(INIT)] = torch.tensor([0.9, 0.1])
    gates.requires_grad_()
    BudgetLoss(COSTS, BUDGETS["dynamic-c"])(gates, 1.0).backward()
    gradient = dict(zip(SPACE.paths, gates.grad[0].tolist(), strict=True))
    keep, down = (gradient[path] for path in SPACE.paths[SPACE.gates(INIT)])
    assert 0 < keep < down, "init's outgoing paths count, its cell (which the larger gate would pay) does not"


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.0), (0.4, 0.0), (0.41, 0.5), (0.42, 1.0), (1.0, 1.0)])
def test_warm_up(progress: float, weight: float) -> None:
    assert BudgetSchedule(3.0, 0.0).weight_at(progress) == pytest.approx(3.0 * weight)
    loss = BudgetLoss(COSTS, BudgetSchedule(1.0, 0.0))
    assert float(loss(torch.ones(1, len(SPACE.paths)), progress)) == pytest.approx(weight, rel=1e-5, abs=1e-9)


def test_a_schedule_of_ones_own() -> None:
    budget = BudgetSchedule(2.0, 0.0, start=0.2, warm_up=0.4)
    assert [budget.weight_at(p) for p in (0.2, 0.4, 0.6, 1.0)] == pytest.approx([0.0, 1.0, 2.0, 2.0])


def test_costs_of_our_own_counting_are_refused() -> None:
    with pytest.raises(UsageError, match="paper"):
        BudgetLoss(cost_table(SPACE, (768, 768), 19, "small"), BUDGETS["dynamic-a"])
