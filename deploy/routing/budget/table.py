"""The budget table of a deployment: what each gate threshold costs, and what it loses.

`adroit budget` measures it on a data set (deploy/routing/budget/calibrate.py) and stores it in adroit.json.
A budget then becomes a threshold by looking it up; nothing is measured, and no threshold between two
settings is guessed:

    setting = choose(read_table(deployment), gflops=0.2)
    runtime.run(deployment.feeds(images, setting.threshold))

Imports no torch: serving uses it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.budget.drift import BINS
from adroit.deploy.routing.collect import check_gated
from adroit.errors import UnsupportedModel, UsageError

Kind = Literal["gflops", "milliseconds", "accuracy drop"]


@dataclass(frozen=True)
class BudgetCost:
    """Of one image at batch 1, over the images of the calibration: their mean, and the dearest of them."""

    mean: float
    worst: float

    @classmethod
    def of(cls, images: Sequence[float]) -> BudgetCost:
        """Of each image's; at least one."""
        worst = max(images)
        return cls(min(fmean(images), worst), worst)  # rounding may put the mean of equal ones above them


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes:
        threshold: paths whose gate is not above it are closed; 0 is the network as trained, 1 closes all.
        gigaflops: operations / 1e9 of what the route executes, in the tool's own counting.
        paper_gigaflops: the same route in the paper's counting (models/routing/cost.py).
        milliseconds: measured on some of the images; worst is the slowest one's median.
        predicted_milliseconds: of all images, by their routes (deploy/routing/latency/table.py); None where
            the runtime has no predictor.
        agreement: share of the pixels that get the class they get at threshold 0.
        accuracy: mean intersection over union, 0 to 1; None without label maps.
        routes: how many different ones the images took.
        unsteadiness: how far the mean operations of other images may be from these, as a share
            (deploy/routing/budget/stability.py); None where there are too few to tell.
        gates: how often their gates had a value of each bin of deploy/routing/budget/drift.py; None in tables of old.
    """

    threshold: float
    gigaflops: BudgetCost
    paper_gigaflops: BudgetCost
    milliseconds: BudgetCost
    agreement: float
    routes: int
    predicted_milliseconds: BudgetCost | None = None
    accuracy: float | None = None
    unsteadiness: float | None = None
    gates: Sequence[int] | None = None


@dataclass(frozen=True)
class BudgetTable:
    """What `adroit budget` found.

    Attributes:
        checkpoint: sha256 of the weights that it holds for.
        images: how many it was calibrated on. size: (height, width) of their inputs, in pixels.
        facts: machine and runtime of the milliseconds.
        settings: thresholds from 0 to 1, rising; mean operations never rise with them.
    """

    checkpoint: str
    images: int
    size: tuple[int, int]
    facts: Mapping[str, Any]
    settings: Sequence[Setting]

    def for_size(self, size: tuple[int, int]) -> BudgetTable:
        """As it would be for inputs of `size` (height, width): every cost grows with the pixels."""
        times = size[0] * size[1] / (self.size[0] * self.size[1])
        settings = []
        for setting in self.settings:
            told = {name: getattr(setting, name) for name in _COSTS}
            grown: dict[str, Any] = {n: BudgetCost(times * c.mean, times * c.worst) for n, c in told.items() if c}
            settings.append(dataclasses.replace(setting, **grown))
        return dataclasses.replace(self, size=size, settings=settings)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BudgetTable:
        """Raises UsageError for what `to_json` does not write."""
        try:
            settings = [_setting(row) for row in values["settings"]]
            height, width = values["size"]
            rest = {name: values[name] for name in ("checkpoint", "images", "facts")}
            table = cls(size=(height, width), settings=settings, **rest)
            ordered = all(
                a.threshold < b.threshold and a.gigaflops.mean > b.gigaflops.mean
                for a, b in itertools.pairwise(settings)
            )
            if not ordered or settings[0].threshold != 0.0:
                raise ValueError("thresholds must rise from 0, and operations fall")
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UsageError(
                "this is not a budget table",
                facts={"at": error},
                hint="measure it again: adroit budget DEPLOYMENT --data",
            ) from error
        return table


def _setting(row: Mapping[str, Any]) -> Setting:
    costs = {
        name: BudgetCost(**row[name]) for name in _COSTS if row[name] is not None or name != "predicted_milliseconds"
    }
    made = Setting(**{**row, **costs})
    # Comparing makes a value that is no number an error here and not in a request.
    if not all(0 <= cost.mean <= cost.worst for cost in costs.values()):
        raise ValueError(f"a cost is negative or above its worst, at threshold {made.threshold}")
    if made.unsteadiness is not None and not made.unsteadiness >= 0:
        raise ValueError(f"unsteadiness is below 0, at threshold {made.threshold}")
    if made.gates is not None and not (len(made.gates) == BINS and min(made.gates) >= 0 and sum(made.gates) > 0):
        raise ValueError(f"gates are not counts of {BINS} bins, at threshold {made.threshold}")
    return made


_COSTS = ("gigaflops", "paper_gigaflops", "milliseconds", "predicted_milliseconds")


def read_table(deployment: Deployment) -> BudgetTable:
    """The table stored in `deployment`.

    Raises:
        UsageError: none is stored, it is damaged, or it would change nothing (`check_form`).
        UnsupportedModel: it was calibrated on another checkpoint than the deployment's.
    """
    check_form(deployment)
    if deployment.info.budget is None:
        raise UsageError(
            f"{deployment.path} has no budget table",
            hint=f"measure one on images: adroit budget {deployment.path} --data IMAGES",
        )
    table = BudgetTable.from_json(deployment.info.budget)
    if table.checkpoint != deployment.info.checkpoint["sha256"]:
        raise UnsupportedModel(
            f"the budget table of {deployment.path} is of another checkpoint",
            facts={"table": table.checkpoint, "deployment": deployment.info.checkpoint["sha256"]},
            hint=f"measure it again: adroit budget {deployment.path} --data IMAGES",
        )
    return table


def check_form(deployment: Deployment) -> None:
    """Raises UsageError where no threshold changes what a run of `deployment` computes."""
    check_gated(deployment)
    assert deployment.info.routing is not None
    form = deployment.info.routing["form"]
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
    """The threshold that a command was given, as it is or as a budget.

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
    """The lowest threshold whose cost is within the budget, or the cheapest whose accuracy is.

    Args:
        gflops: operations / 1e9 an image. milliseconds: measured, an image.
        accuracy_drop: percentage points below the accuracy at threshold 0.
        paper: `gflops` is of the paper's counting. worst: hold the dearest image to the budget, not the mean.

    Raises:
        UsageError: not exactly one budget, one that no threshold keeps (with the least that one does),
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
    least = f"{_rounded_up(min(figures)):g} {unit}"
    raise UsageError(
        f"no threshold keeps a budget of {value:g} {unit}: with every path closed, stem, gates and head remain",
        facts={"least possible": least, "as trained": f"{figures[0]:.4g} {unit}"},
        hint=f"give at least {least}",
    )


def requested_budget(
    gflops: float | None, milliseconds: float | None, accuracy_drop: float | None
) -> tuple[Kind, float]:
    """The one budget that is given. Raises UsageError for none, several, or one below 0."""
    given: tuple[tuple[Kind, float | None], ...]
    given = (("gflops", gflops), ("milliseconds", milliseconds), ("accuracy drop", accuracy_drop))
    wanted = [(kind, value) for kind, value in given if value is not None]
    if len(wanted) != 1:
        raise UsageError(
            f"{len(wanted) or 'no'} budgets are given: {', '.join(kind for kind, _ in wanted) or 'one is needed'}",
            hint="give gflops, milliseconds or an accuracy drop",
        )
    kind, value = wanted[0]
    if not 0.0 <= value < float("inf"):
        raise UsageError(f"a budget in {kind} is a number of at least 0, not {value}")
    return kind, value


def _rounded_up(value: float) -> float:
    """To four digits, so that the figure told is one that is accepted."""
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
