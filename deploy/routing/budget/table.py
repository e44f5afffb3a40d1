"""Looks up the gate threshold of a budget in a deployment's budget table.

`adroit budget` measures it on a data set (deploy/routing/budget/calibrate.py) and stores it in adroit.json.
Looking a budget up measures nothing, and guesses no threshold between two settings:

    setting = choose(read_table(deployment), gflops=0.2)
    runtime.run(deployment.feeds(images, setting.threshold))

Imports no torch: serving uses it.
"""

from __future__ import annotations

import math
from typing import Literal

from adroit.deploy.deployment.budget_table import BudgetCost, BudgetTable, Setting
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.collect import check_gated
from adroit.errors import UnsupportedModel, UsageError

Kind = Literal["gflops", "milliseconds", "accuracy drop"]


def read_table(deployment: Deployment) -> BudgetTable:
    """Returns the table stored in `deployment`.

    Raises:
        UsageError: none is stored, or it would change nothing (`check_form`).
        UnsupportedModel: it was calibrated on another checkpoint than the deployment's.
    """
    check_form(deployment)
    if deployment.info.budget is None:
        raise UsageError(
            f"{deployment.path} has no budget table",
            hint=f"measure one on images: adroit budget {deployment.path} --data IMAGES",
        )
    table = deployment.info.budget
    if table.checkpoint != deployment.info.checkpoint.sha256:
        raise UnsupportedModel(
            f"the budget table of {deployment.path} is of another checkpoint",
            facts={"table": table.checkpoint, "deployment": deployment.info.checkpoint.sha256},
            hint=f"measure it again: adroit budget {deployment.path} --data IMAGES",
        )
    return table


def check_form(deployment: Deployment) -> None:
    """Raises UsageError where no threshold changes what a run of `deployment` computes."""
    check_gated(deployment)
    assert deployment.info.routing is not None
    form = deployment.info.routing.form
    if form != "if":
        raise UsageError(
            f"the {form} form computes the same whatever its gates say, so no threshold holds it to a budget",
            hint="export it with --routing if",
        )
    if deployment.baked_threshold is not None:
        raise UsageError(
            f"the gate threshold of {deployment.info.name} is baked in: {deployment.baked_threshold:g}",
            hint="export it without --gate-threshold",
        )


def takes_budget(deployment: Deployment) -> bool:
    """Whether a threshold changes what a run of `deployment` computes."""
    try:
        check_form(deployment)
    except UsageError:
        return False
    return True


def requested_threshold(deployment: Deployment, gate_threshold: float, gflops: float | None) -> float:
    """Returns the threshold that a command was given, as a threshold or as a budget.

    Raises:
        UsageError: both at once; or as read_table and choose.
    """
    if gflops is None:
        return gate_threshold
    if gate_threshold:
        raise UsageError("a gate threshold and a budget are given", hint="leave --gate-threshold or --gflops out")
    return choose(read_table(deployment), gflops).threshold


def choose(
    table: BudgetTable,
    gflops: float | None = None,
    milliseconds: float | None = None,
    accuracy_drop: float | None = None,
    *,
    paper: bool = False,
    worst: bool = False,
) -> Setting:
    """Returns the lowest threshold whose cost is within the budget, or the cheapest whose accuracy is.

    Args:
        gflops: operations / 1e9 an image. milliseconds: measured, an image.
        accuracy_drop: percentage points below the accuracy at threshold 0.
        paper: `gflops` is of the paper's counting. worst: hold the most expensive image to the budget, not the mean.

    Raises:
        UsageError: not exactly one budget, one that no threshold keeps (with the smallest possible),
            or a drop where the table has no accuracy.
    """
    kind, value = requested_budget(gflops, milliseconds, accuracy_drop)
    if kind == "accuracy drop":
        return _cheapest_within(table, value)
    field, unit = {"gflops": ("gigaflops", "GFLOPs"), "milliseconds": ("milliseconds", "ms")}[kind]
    costs: list[BudgetCost] = [
        getattr(s, f"paper_{field}" if paper and kind == "gflops" else field) for s in table.settings
    ]
    figures = [cost.worst if worst else cost.mean for cost in costs]
    for setting, figure in zip(table.settings, figures, strict=True):
        if figure <= value:
            return setting
    smallest = f"{_rounded_up(min(figures)):g} {unit}"
    raise UsageError(
        f"no threshold keeps a budget of {value:g} {unit}: with every path closed, stem, gates and head remain",
        facts={"least possible": smallest, "as trained": f"{figures[0]:.4g} {unit}"},
        hint=f"give at least {smallest}",
    )


def requested_budget(
    gflops: float | None, milliseconds: float | None, accuracy_drop: float | None
) -> tuple[Kind, float]:
    """Returns the one budget that is given; raises UsageError for none, several, or one below 0."""
    given: tuple[tuple[Kind, float | None], ...]
    given = (("gflops", gflops), ("milliseconds", milliseconds), ("accuracy drop", accuracy_drop))
    budgets = [(kind, value) for kind, value in given if value is not None]
    if len(budgets) != 1:
        raise UsageError(
            f"{len(budgets) or 'no'} budgets are given: {', '.join(kind for kind, _ in budgets) or 'one is needed'}",
            hint="give gflops, milliseconds or an accuracy drop",
        )
    kind, value = budgets[0]
    if not 0.0 <= value < float("inf"):
        raise UsageError(f"a budget in {kind} is a number of at least 0, not {value}")
    return kind, value


def _rounded_up(value: float) -> float:
    """Rounds up to four digits, so that the printed figure is accepted as a budget."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return math.ceil(value / unit) * unit


def _cheapest_within(table: BudgetTable, drop: float) -> Setting:
    full = table.settings[0].accuracy
    if full is None:
        raise UsageError(
            "the budget table has no accuracy, since the images it was measured on have no label maps",
            hint="measure it on labeled images, or give a budget in gflops or milliseconds",
        )
    return [s for s in table.settings if s.accuracy is not None and 100 * (full - s.accuracy) <= drop][-1]
