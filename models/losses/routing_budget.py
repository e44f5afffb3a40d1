"""The budget loss of routed networks: it pulls the expected cost to a share of the whole.

Source: Dynamic Routing, arXiv 2003.10401, section 3.4; numbers and schedule of the official code.
It steers the expected cost, not the cost of the paths that end up open: measure that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.routing.cost import CostTable

# The official code's shares of the training, see BudgetSchedule.
START, WARM_UP = 0.4, 0.02
# What the official code divides by, in operations of paper counting: for depth 16, width 64 and
# 768 x 768 pixels (all paths open: 26.89e9). Its origin is unpublished.
OFFICIAL_FULL_COST = 26.3e9


@dataclass(frozen=True)
class BudgetSchedule:
    """weight: lambda. target: mu, the target share of the full cost.

    start, warm_up: shares of the training; the loss is off until the first is done, and grows to its full
    weight during the second.
    """

    weight: float
    target: float
    start: float = START
    warm_up: float = WARM_UP

    def warm(self, progress: float) -> float:
        """0 to 1: how much of its weight counts; progress is the share of the training that is done."""
        return min(1.0, max(0.0, (progress - self.start) / self.warm_up))

    def weight_at(self, progress: float) -> float:
        """0 to `weight`; progress is the share of the training that is done."""
        return self.weight * self.warm(progress)


BUDGETS: Mapping[str, BudgetSchedule] = {
    "dynamic-a": BudgetSchedule(0.8, 0.1),
    "dynamic-b": BudgetSchedule(0.5, 0.1),
    "dynamic-c": BudgetSchedule(0.5, 0.2),
}


def check_paper(costs: CostTable) -> None:
    """Raises UsageError for costs in another counting than the paper's."""
    if costs.counting != "paper":
        raise UsageError(f"the budget loss takes costs in paper counting, not in {costs.counting!r}")


class BudgetLoss(nn.Module):
    """weight_at(progress) * (mean expected cost / full cost - target)^2.

    Args:
        costs: in paper counting, of the size of the training crops (768 x 768 officially; another size
            changes what the target means).
        budget: lambda, mu and schedule.
        full_cost: the divisor, in operations; None is the expected cost with every gate at 1.
    """

    cells: Tensor
    paths: Tensor

    def __init__(self, costs: CostTable, budget: BudgetSchedule, full_cost: float | None = None) -> None:
        super().__init__()
        check_paper(costs)
        self.space, self.budget = costs.space, budget
        everything = float(costs.cell_totals.sum() + costs.path_totals.sum())
        scale = full_cost if full_cost is not None else everything
        self.register_buffer("cells", torch.tensor(costs.cell_totals / scale, dtype=torch.float32), persistent=False)
        self.register_buffer("paths", torch.tensor(costs.path_totals / scale, dtype=torch.float32), persistent=False)

    def expected_share(self, gates: Tensor) -> Tensor:
        """[N]: each sample's expected cost as a share of the full cost; gates [N,paths] of the network."""
        largest = torch.stack([gates[:, self.space.gates(node)].amax(1) for node in self.space.nodes], dim=1)
        return largest @ self.cells.to(gates.dtype) + gates @ self.paths.to(gates.dtype)

    def forward(self, gates: Tensor, progress: float) -> Tensor:
        """A scalar; progress is the share of the training that is done, 0 to 1."""
        excess = self.expected_share(gates).mean() - self.budget.target
        return self.budget.weight_at(progress) * excess.square()
