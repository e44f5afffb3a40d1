"""How routed and ordinary networks learn."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from adroit.models.losses.routing_budget import BudgetLoss, BudgetSchedule
from adroit.models.networks.dynamic_routing.layers import DropPath
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.cost import cost_table
from adroit.models.training.learner import Learner, Outcome, RoutedLearner
from adroit.models.training.optimizer import rate_factor
from adroit.models.training.tables import DataRecipe, OptimizerRecipe, Recipe, RoutingRecipe

RECIPE = Recipe(
    "dynamic-small", DataRecipe("camvid"), OptimizerRecipe(1, learning_rate=0.1), routing=RoutingRecipe(0.5, 0.2, 2.5)
)
SIZE = (64, 96)


def total(outcome: Outcome) -> torch.Tensor:
    """The task's loss and what the network's kind adds."""
    return outcome.task if outcome.more is None else outcome.task + outcome.more


@pytest.fixture
def routed() -> RoutedLearner:
    torch.manual_seed(0)
    return RoutedLearner(DynamicRouting(3, 4, 5, "normal", drop_path=0.3), 11, RECIPE, SIZE)


def test_targets_that_do_not_count_have_no_influence() -> None:
    logits = torch.randn(2, 5, 3, 4, requires_grad=True)
    y = torch.randint(0, 5, (2, 3, 4))
    y[0, 1] = 11
    learner = Learner(nn.Identity(), 11)
    loss = learner.cross_entropy(logits, y)
    counted = y != 11
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits.movedim(1, 3)[counted], y[counted]))
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad.movedim(1, 3)[~counted] == 0).all() and (logits.grad.movedim(1, 3)[counted] != 0).all()
    assert learner.cross_entropy(logits, torch.full_like(y, 11)).item() == 0.0


def test_the_budget_joins_the_loss_when_its_time_has_come(routed: RoutedLearner) -> None:
    network = routed.network.eval()  # nothing is dropped
    x, y = torch.randn(2, 3, *SIZE), torch.randint(0, 5, (2, *SIZE))
    with torch.no_grad():
        logits, gates = network(x, with_gates=True)
        plain = routed.cross_entropy(logits, y)
        routed.set_progress(0.4)
        torch.testing.assert_close(total(routed.loss(x, y)), plain)
        routed.set_progress(0.9)
        share = BudgetLoss(cost_table(network.space, SIZE, 5, "normal", "paper"), BudgetSchedule(1, 0)).expected_share(
            gates
        )
        torch.testing.assert_close(total(routed.loss(x, y)), plain + 0.5 * (share.mean() - 0.2) ** 2)
    assert abs(share.mean() - 0.2) > 0.05


def test_half_of_a_batch_learns_under_thresholds_and_the_budget_is_of_the_other(routed: RoutedLearner) -> None:
    routing = RoutingRecipe(0.5, 0.2, budget_start=0.1, budget_warm_up=0.2, largest_threshold=0.9)
    network = routed.network.eval()
    learner = RoutedLearner(network, 11, replace(RECIPE, routing=routing), SIZE)
    x, y = torch.randn(5, 3, *SIZE), torch.randint(0, 5, (5, *SIZE))
    with torch.no_grad():
        learner.set_progress(0.1)
        torch.testing.assert_close(total(learner.loss(x, y)), learner.cross_entropy(network(x), y))
        learner.set_progress(0.2)
        torch.manual_seed(4)
        result = total(learner.loss(x, y))
        torch.manual_seed(4)
        thresholds = torch.cat([torch.zeros(3), 0.9 * torch.rand(2)])
        logits, gates = network(x, thresholds, with_gates=True)
        share = BudgetLoss(cost_table(network.space, SIZE, 5, "normal", "paper"), BudgetSchedule(1, 0)).expected_share(
            gates
        )
        held = (share[:3].mean() - 0.2) ** 2
        torch.testing.assert_close(result, learner.cross_entropy(logits, y) + 0.5 * 0.5 * held)
    assert (gates[3:] > 0).sum() < (network(x[3:], with_gates=True)[1] > 0).sum(), "the thresholds close nothing"


def test_progress_reaches_the_drop_path(routed: RoutedLearner) -> None:
    routed.set_progress(0.5)
    rates = [m.rate for m in routed.network.modules() if isinstance(m, DropPath)]
    assert max(rates) == pytest.approx(0.5 * 0.3)


def test_gates_learn_faster(routed: RoutedLearner) -> None:
    rates = {id(p): group["lr"] for group in routed.parameter_groups(RECIPE) for p in group["params"]}
    for name, parameter in routed.network.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.25 if "gate_conv" in name else 0.1)


@pytest.mark.parametrize("name", ["cosine", "poly"])
def test_schedules_fall_from_the_whole_rate_to_none(name: str) -> None:
    settings = OptimizerRecipe(1, schedule=name)
    left = [rate_factor(settings, step / 10) for step in range(11)]
    assert left[0] == 1.0 and left[-1] == pytest.approx(0.0)
    assert left == sorted(left, reverse=True) and len(set(left)) == 11
