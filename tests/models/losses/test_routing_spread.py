"""The loss that spreads gates: where it is 0, what it pulls, and the even cut that descending it leads to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adroit.errors import UsageError
from adroit.models.losses.routing_budget import BudgetSchedule
from adroit.models.losses.routing_spread import SpreadLoss
from adroit.models.routing.cost import cost_table
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, Node, RoutingSpace

SPACE = RoutingSpace(4, 8)
COSTS = cost_table(SPACE, (128, 160), 11, "small", "paper")
BUDGET = BudgetSchedule(1.0, 0.45, start=0.1, warm_up=0.2)
NODES = {node: place for place, node in enumerate(SPACE.nodes)}


def test_descending_it_makes_a_threshold_cut_cost_evenly() -> None:
    torch.manual_seed(0)
    loss = SpreadLoss(COSTS, BUDGET, 1.0)
    logits = (torch.randn(1, len(SPACE.paths)) * 0.2 + 1.3).requires_grad_()
    optimizer = torch.optim.Adam([logits], 0.03)
    for _ in range(400):
        optimizer.zero_grad()
        value = loss(logits.tanh().relu(), 1.0)
        value.backward()
        optimizer.step()
    gates = logits.detach().tanh().relu()[0].numpy()

    def steered(threshold: float) -> float:
        """Of cells and paths, as a share of all."""
        route = Route.from_gates(SPACE, gates * (gates > threshold))
        return float(COSTS.expected(np.array([route.open]))[0] / COSTS.expected(np.ones((1, len(gates))))[0])

    open_at = np.array([steered(threshold) for threshold in np.linspace(0.05, 0.95, 19)])
    # The line from 2 x 0.45 at threshold 0 to nothing at 1; a cell of so small a network is a step of 7 %.
    np.testing.assert_allclose(open_at, 0.9 * (1 - np.linspace(0.05, 0.95, 19)), atol=0.08)


def test_what_is_open_longer_than_what_leads_to_it_is_pulled_together() -> None:
    """Everything at 1/8 and below is reached by init's down path alone, if the others at 1/4 send nothing."""
    values = torch.zeros(1, len(SPACE.paths))
    values[:, SPACE.gates(INIT)] = torch.tensor([0.0, 0.3])
    deep = Node(0, 1)
    values[:, SPACE.gates(deep)] = 0.8
    reach = SpreadLoss(COSTS, BUDGET, 1.0)._reach(_nodes(values), values)[0]
    assert reach[NODES[INIT]] == reach[NODES[Node(0, 0)]] == 1.0
    assert float(reach[NODES[deep]]) == pytest.approx(0.3)
    # Its keep path passes on what reaches it; its down path is open no longer than that.
    assert float(reach[NODES[Node(1, 1)]]) == float(reach[NODES[Node(1, 2)]]) == pytest.approx(0.3)

    values.requires_grad_()
    SpreadLoss(COSTS, BUDGET, 1.0)._early(_nodes(values), values).sum().backward()
    assert values.grad is not None
    down = SPACE.gates(INIT).start + 1
    assert values.grad[0, down] < 0 < values.grad[0, SPACE.gates(deep)].sum()


def _nodes(values: torch.Tensor) -> torch.Tensor:
    return torch.stack([values[:, SPACE.gates(node)].amax(1) for node in SPACE.nodes], dim=1)


def test_each_image_may_go_its_own_way() -> None:
    """Only their mean is held to the even spread: two images that differ about it lose as little as if they did not."""
    loss = SpreadLoss(COSTS, BUDGET, 1.0)
    gates = torch.linspace(0.5, 0.9, len(SPACE.paths))[None]
    both = torch.cat([gates + 0.1, gates - 0.1])  # a node's largest gate moves with all of its gates
    assert float(loss(both, 1.0) - _early(loss, both)) == pytest.approx(float(loss(gates, 1.0) - _early(loss, gates)))
    alone = [float(loss(each[None], 1.0) - _early(loss, each[None])) for each in both]
    assert float(loss(both, 1.0) - _early(loss, both)) < np.mean(alone)


def _early(loss: SpreadLoss, gates: torch.Tensor) -> torch.Tensor:
    return loss._early(_nodes(gates), gates).mean()


def test_it_follows_the_budgets_schedule() -> None:
    gates = torch.rand(2, len(SPACE.paths))
    values = [float(SpreadLoss(COSTS, BUDGET, 3.0)(gates, progress)) for progress in (0.05, 0.1, 0.2, 0.3, 1.0)]
    whole = values[-1]
    assert whole > 0 and values == pytest.approx([0.0, 0.0, whole / 2, whole, whole])


def test_costs_of_our_own_counting_are_refused() -> None:
    with pytest.raises(UsageError, match="paper"):
        SpreadLoss(cost_table(SPACE, (128, 160), 11, "small"), BUDGET, 1.0)
