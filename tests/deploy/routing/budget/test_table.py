"""A budget becomes a threshold by looking it up; what cannot be kept is refused with what can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adroit.deploy.deployment.budget_table import BudgetCost, BudgetTable, Setting
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.budget.stability import FOLDS, instability
from adroit.deploy.routing.budget.table import choose, read_table
from adroit.errors import UnsupportedModel, UsageError


def setting(threshold: float, gigaflops: float, accuracy: float | None = None) -> Setting:
    """Worst is 1.5 times the mean; the paper counts a tenth less; 100 ms a GFLOP."""
    costs = [BudgetCost(f * gigaflops, f * 1.5 * gigaflops) for f in (1.0, 0.9, 100.0)]
    return Setting(threshold, *costs, agreement=1.0 - threshold, routes=3, accuracy=accuracy)


SETTINGS = [setting(0.0, 0.4, 0.5), setting(0.3, 0.3, 0.49), setting(0.6, 0.2, 0.3), setting(1.0, 0.123456, 0.05)]
TABLE = BudgetTable("a" * 64, 8, (128, 160), {}, tuple(SETTINGS))


@pytest.mark.parametrize(
    ("budget", "threshold"),
    [
        ({"gflops": 9.0}, 0.0),
        ({"gflops": 0.4}, 0.0),
        ({"gflops": 0.399}, 0.3),
        ({"gflops": 0.29}, 0.6),
        ({"gflops": 0.361, "paper": True}, 0.0),
        ({"gflops": 0.36, "worst": True}, 0.6),
        ({"milliseconds": 35.0}, 0.3),
        ({"milliseconds": 35.0, "paper": True}, 0.3),
        ({"milliseconds": 44.0, "worst": True}, 0.6),
        ({"accuracy_drop": 0.0}, 0.0),
        ({"accuracy_drop": 1.01}, 0.3),
        ({"accuracy_drop": 100.0}, 1.0),
    ],
)
def test_the_lowest_threshold_within_the_budget(budget: dict[str, Any], threshold: float) -> None:
    assert choose(TABLE, **budget).threshold == threshold


@pytest.mark.parametrize("worst", [False, True])
def test_an_impossible_budget_is_refused_with_one_that_is_possible(worst: bool) -> None:
    with pytest.raises(UsageError) as refused:
        choose(TABLE, gflops=0.1, worst=worst)
    possible = float(refused.value.facts["least possible"].split()[0])  # type: ignore[attr-defined]
    cheapest = TABLE.settings[-1].gigaflops
    assert possible == pytest.approx(cheapest.worst if worst else cheapest.mean, rel=1e-3)
    assert choose(TABLE, gflops=possible, worst=worst).threshold == 1.0


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ({}, "no budgets"),
        ({"gflops": 1.0, "milliseconds": 1.0}, "2 budgets are given: gflops, milliseconds"),
        ({"gflops": -1.0}, "at least 0"),
        ({"gflops": float("nan")}, "at least 0"),
        ({"milliseconds": float("inf")}, "at least 0"),
        ({"accuracy_drop": -0.1}, "at least 0"),
    ],
)
def test_what_is_no_budget_is_refused(budget: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        choose(TABLE, **budget)


def test_a_drop_of_accuracy_needs_one() -> None:
    plain = msgspec.structs.replace(TABLE, settings=(setting(0.0, 0.4), setting(1.0, 0.1)))
    with pytest.raises(UsageError, match="no accuracy"):
        choose(plain, accuracy_drop=1.0)


def test_json_keeps_everything() -> None:
    read = BudgetTable.from_json(json.loads(json.dumps(TABLE.to_json())))
    assert read == TABLE


DAMAGES: list[Callable[[dict[str, Any]], object]] = [
    lambda t: t.pop("settings"),
    lambda t: t.update(settings=[]),
    lambda t: t.update(settings="none"),
    lambda t: t.update(size=[1]),
    lambda t: t["settings"].reverse(),
    lambda t: t["settings"][0].update(threshold=0.1),
    lambda t: t["settings"][1].update(threshold=None),
    lambda t: t["settings"][1].update(gigaflops=None),
    lambda t: t["settings"][1].update(gigaflops={"mean": "x", "worst": 2.0}),
    lambda t: t["settings"][1].update(gigaflops={"mean": 3.0, "worst": 2.0}),
    lambda t: t["settings"][1].update(milliseconds={"mean": float("nan"), "worst": 2.0}),
    lambda t: t["settings"][1].update(gigaflops={"mean": 0.5, "worst": 2.0}),
    lambda t: t["settings"][1].update(unheard="of"),
    lambda t: t["settings"][1].update(instability="much"),
    lambda t: t["settings"][1].update(instability=-0.1),
    lambda t: t["settings"][1].pop("agreement"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_one_error(damage: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(json.dumps(TABLE.to_json()))
    damage(values)
    with pytest.raises(UsageError, match=r"^the budget table: "):
        BudgetTable.from_json(values)


def described(deployment: Deployment, folder: Path, **changes: Any) -> Deployment:
    """The deployment with another adroit.json, in `folder`; the model stays behind."""
    values = json.loads((deployment.path / "adroit.json").read_text())
    values.update(changes)
    folder.mkdir(exist_ok=True)
    (folder / "adroit.json").write_text(json.dumps(values))
    return Deployment.read(folder)


def test_a_stored_table_is_found(routed_deployment: Deployment, tmp_path: Path) -> None:
    mine = msgspec.structs.replace(TABLE, checkpoint=routed_deployment.info.checkpoint.sha256)
    deployment = described(routed_deployment, tmp_path, budget=mine.to_json())
    assert read_table(deployment) == mine
    assert choose(read_table(deployment), gflops=0.3).threshold == 0.3


def test_a_table_of_another_checkpoint_is_refused(routed_deployment: Deployment, tmp_path: Path) -> None:
    deployment = described(routed_deployment, tmp_path, budget=TABLE.to_json())
    with pytest.raises(UnsupportedModel, match="another checkpoint"):
        read_table(deployment)


def test_deployments_from_before_there_were_tables_are_read(routed_deployment: Deployment, tmp_path: Path) -> None:
    values = json.loads((routed_deployment.path / "adroit.json").read_text())
    del values["budget"], values["routing"]["threshold"]
    (tmp_path / "adroit.json").write_text(json.dumps(values))
    deployment = Deployment.read(tmp_path)
    assert deployment.info.budget is None and deployment.baked_threshold is None
    with pytest.raises(UsageError, match="has no budget table"):
        read_table(deployment)


def test_forms_that_no_threshold_changes_are_refused(
    routed_deployment: Deployment, lenet_deployment: Deployment, tmp_path: Path
) -> None:
    routing = msgspec.to_builtins(routed_deployment.info.routing)
    with pytest.raises(UsageError, match="masked form computes the same"):
        read_table(described(routed_deployment, tmp_path / "masked", routing={**routing, "form": "masked"}))
    with pytest.raises(UsageError, match="no routing space"):
        read_table(lenet_deployment)
    with pytest.raises(UsageError, match=r"baked in: 0\.2"):
        read_table(described(routed_deployment, tmp_path / "baked", routing={**routing, "threshold": 0.2}))


def test_instability_is_of_the_part_that_is_furthest_from_the_others() -> None:
    assert instability([2.0] * 7) == 0.0
    # The third of five pairs costs a tenth more than the eight others.
    assert instability([1.0] * 4 + [1.1, 1.1] + [1.0] * 4) == pytest.approx(0.1)
    # Neighbors that differ as much as the parts do not: no part is unlike the others.
    assert instability([1.0, 2.0] * 5) == 0.0
    assert instability([1.0] * (FOLDS - 1)) is None
