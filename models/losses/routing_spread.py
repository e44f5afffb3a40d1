"""A loss that spreads a routed network's gates, so that a threshold on them takes its cost away evenly.

The budget loss steers the gates' mean only. Trained by it alone, gates of one kind settle at one value, and a
gate on the way to half of the network may close before all that it leads to: then no threshold lies between
all of that and nothing, and whether an image falls to the one side or the other is a matter of rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adroit.models.losses.routing_budget import BudgetSchedule, check_paper
from adroit.models.routing.cost import CostTable
from adroit.models.routing.space import INIT, Node


class SpreadLoss(nn.Module):
    """weight * (mean squared distance, by cost, of gates from evenly spread values + of nodes from what leads to them).

    Evenly spread: with the parts of the network (cells, which close with their node's largest gate, and paths)
    in the order of their gates' means over the batch, a part's gate is 1 - s / (2 target), s being the share of
    the full cost before it, and 0 where that is negative. The mean gate, by cost, is then `target`, and a
    threshold t leaves (1 - t) of what is open at threshold 0. The mean over the batch is held to it, so that each
    image may still go its own way: held to it one by one, images came to take one route all together.

    A threshold takes away what it closes alone if nothing is open longer than what leads to it: a node's largest
    gate is therefore pulled below the least gate on the way to it, on the best of those ways, and that one up.

    Args:
        costs: in paper counting, as BudgetLoss has them. budget: its target, and schedule.
        weight: of this loss, when the budget's warm-up is done.
    """

    costs: Tensor

    def __init__(self, costs: CostTable, budget: BudgetSchedule, weight: float) -> None:
        super().__init__()
        check_paper(costs)
        self.space, self.budget, self.weight = costs.space, budget, weight
        parts = torch.tensor([*costs.cell_totals, *costs.path_totals], dtype=torch.float32)
        self.register_buffer("costs", parts / parts.sum(), persistent=False)

    def forward(self, gates: Tensor, progress: float) -> Tensor:
        """A scalar, of gates [N,paths]; progress is the share of the training that is done, 0 to 1."""
        nodes = torch.stack([gates[:, self.space.gates(node)].amax(1) for node in self.space.nodes], dim=1)
        costs = self.costs.to(gates.dtype)
        away = (torch.cat([nodes, gates], dim=1).mean(0) - self._wanted(nodes, gates)).square() @ costs
        return self.weight * self.budget.warm(progress) * (away + self._early(nodes, gates)).mean()

    def _wanted(self, nodes: Tensor, gates: Tensor) -> Tensor:
        """[nodes + paths]: what each part's gate is pulled to."""
        costs = self.costs.to(gates.dtype)
        order = torch.cat([nodes, gates], dim=1).detach().mean(0).argsort(descending=True)
        before = torch.empty_like(costs)
        before[order] = costs[order].cumsum(0) - costs[order] / 2
        return (1.0 - before / (2.0 * self.budget.target)).clamp(min=0.0)

    def _early(self, nodes: Tensor, gates: Tensor) -> Tensor:
        """[N]: squares of how much longer nodes are open than something reaches them."""
        costs = self.costs.to(gates.dtype)[: nodes.shape[1]]
        return (nodes - self._reach(nodes, gates)).relu().square() @ costs

    def _reach(self, nodes: Tensor, gates: Tensor) -> Tensor:
        """[N,nodes]: the largest threshold at which something other than zeros arrives at each node."""
        value = dict(zip(self.space.nodes, nodes.unbind(1), strict=True))
        passed = dict(zip(self.space.paths, gates.unbind(1), strict=True))
        reach: dict[Node, Tensor] = {INIT: torch.ones_like(value[INIT])}
        for node in self.space.nodes[1:]:
            ways = [
                reach[path.node] if path.kind == "keep" else torch.minimum(reach[path.node], passed[path])
                for path in self.space.arriving(node)
            ]
            reach[node] = torch.stack(ways).amax(0)
        return torch.stack([reach[node] for node in self.space.nodes], dim=1)
