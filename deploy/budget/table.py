"""The budget table of a deployment: what each gate threshold costs, and what it loses.

`adroit budget` measures it on a data set (deploy/budget/calibrate.py) and stores it in adroit.json.
A budget then becomes a threshold by looking it up; nothing is measured, and no threshold between two
settings is guessed:

    setting = threshold_for(entry, gflops=0.2)
    runtime.run(entry.feeds(images, setting.threshold))

Imports neither torch nor ONNX: serving uses it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.entry import THRESHOLD, Entry
from models.errors import UnsupportedModel, UsageError


@dataclass(frozen=True)
class Cost:
    """Of one image at batch 1, over the images of the calibration: their mean, and the dearest of them."""

    mean: float
    worst: float


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes:
        threshold: paths whose gate is not above it are closed; 0 is the network as trained, 1 closes all.
        gigaflops: operations / 1e9 of what the route executes, in the tool's own counting.
        paper_gigaflops: the same route in the paper's counting (models/routing/cost.py).
        milliseconds: measured; worst is the slowest image's median.
        predicted_milliseconds: by the routes of the images; None where there is no predictor.
        agreement: share of the pixels (or images) that get the class they get at threshold 0.
        accuracy: 0 to 1, what BudgetTable.measure says; None without labels.
        routes: how many different ones the images took.
    """

    threshold: float
    gigaflops: Cost
    paper_gigaflops: Cost
    milliseconds: Cost
    agreement: float
    routes: int
    predicted_milliseconds: Cost | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class BudgetTable:
    """What `adroit budget` found.

    Attributes:
        checkpoint: sha256 of the weights that it holds for.
        images: how many it was calibrated on. size: (height, width) of their inputs, in pixels.
        measure: of Setting.accuracy: "mean intersection over union", "top-1 accuracy", or None.
        facts: machine and runtime of the milliseconds.
        settings: thresholds from 0 to 1, rising; mean operations never rise with them.
    """

    checkpoint: str
    images: int
    size: tuple[int, int]
    measure: str | None
    facts: Mapping[str, Any]
    settings: Sequence[Setting]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BudgetTable:
        """Raises UsageError for what `to_json` does not write."""
        try:
            settings = [_setting(row) for row in values["settings"]]
            height, width = values["size"]
            rest = {name: values[name] for name in ("checkpoint", "images", "measure", "facts")}
            table = cls(size=(height, width), settings=settings, **rest)
            rising = all(a.threshold < b.threshold for a, b in itertools.pairwise(settings))
            if not rising or settings[0].threshold != 0.0:
                raise ValueError("thresholds must rise from 0")
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UsageError(
                "this is not a budget table", facts={"at": error}, hint="measure it again: adroit budget ENTRY --data"
            ) from error
        return table


def _setting(row: Mapping[str, Any]) -> Setting:
    costs = {name: None if row[name] is None else Cost(**row[name]) for name in _COSTS}
    made = Setting(**{**row, **costs})
    # Comparing makes a value that is no number an error here and not in a request.
    if not all(cost is None or 0 <= cost.mean <= cost.worst for cost in costs.values()):
        raise ValueError(f"a cost is negative or above its worst, at threshold {made.threshold}")
    return made


_COSTS = ("gigaflops", "paper_gigaflops", "milliseconds", "predicted_milliseconds")


def read_table(entry: Entry) -> BudgetTable:
    """The table stored in `entry`.

    Raises:
        UsageError: none is stored, it is damaged, or the network has no gates.
        UnsupportedModel: it was calibrated on another checkpoint than the entry's.
    """
    check_gated(entry)
    if entry.info.budget is None:
        raise UsageError(
            f"{entry.path} has no budget table",
            hint=f"measure one on images: adroit budget {entry.path} --data IMAGES",
        )
    table = BudgetTable.from_json(entry.info.budget)
    if table.checkpoint != entry.info.checkpoint["sha256"]:
        raise UnsupportedModel(
            f"the budget table of {entry.path} is of another checkpoint",
            facts={"table": table.checkpoint, "deployment": entry.info.checkpoint["sha256"]},
            hint=f"measure it again: adroit budget {entry.path} --data IMAGES",
        )
    return table


def check_gated(entry: Entry) -> None:
    """Raises UsageError where no threshold can change what a run of `entry` costs."""
    if entry.info.routing is None or THRESHOLD not in [spec.name for spec in entry.info.inputs]:
        raise UsageError(f"{entry.info.name} has no gates, so there is no budget to hold it to")
    form = entry.info.routing["form"]
    if form != "if":
        raise UsageError(
            f"the {form} form computes the same whatever its gates say, so no budget can hold it",
            hint="export it with --routing if",
        )


def threshold_for(
    entry: Entry,
    *,
    gflops: float | None = None,
    milliseconds: float | None = None,
    accuracy_drop: float | None = None,
    paper: bool = False,
    worst: bool = False,
) -> Setting:
    """The setting of `entry` that keeps a budget: `choose` from its stored table."""
    table = read_table(entry)
    return choose(
        table, gflops=gflops, milliseconds=milliseconds, accuracy_drop=accuracy_drop, paper=paper, worst=worst
    )


def choose(
    table: BudgetTable,
    *,
    gflops: float | None = None,
    milliseconds: float | None = None,
    accuracy_drop: float | None = None,
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
    given = {"gflops": gflops, "milliseconds": milliseconds, "accuracy drop": accuracy_drop}
    wanted = [(name, value) for name, value in given.items() if value is not None]
    if len(wanted) != 1:
        raise UsageError(
            f"{'two budgets were' if wanted else 'no budget was'} given", hint=f"give one: {', '.join(given)}"
        )
    ((name, value),) = wanted
    if not 0.0 <= value < float("inf"):
        raise UsageError(f"a budget is a number of at least 0, not {value}")
    if name == "accuracy drop":
        return _cheapest_within(table, value)
    kind = "milliseconds" if name == "milliseconds" else "paper_gigaflops" if paper else "gigaflops"
    costs: list[Cost] = [getattr(setting, kind) for setting in table.settings]
    figures = [cost.worst if worst else cost.mean for cost in costs]
    for setting, figure in zip(table.settings, figures, strict=True):
        if figure <= value:
            return setting
    unit = "ms" if name == "milliseconds" else "GFLOPs"
    raise UsageError(
        f"no threshold keeps a budget of {value:g} {unit}: with every path closed, stem, gates and head remain",
        facts={"least": f"{min(figures):.4g} {unit}", "as trained": f"{figures[0]:.4g} {unit}"},
        hint=f"give at least {min(figures):.4g} {unit}",
    )


def _cheapest_within(table: BudgetTable, drop: float) -> Setting:
    full = table.settings[0].accuracy
    if full is None:
        raise UsageError(
            "the budget table has no accuracy, since the images it was measured on have no labels",
            hint="measure it on labelled images, or give a budget in gflops or milliseconds",
        )
    allowed = [s for s in table.settings if s.accuracy is not None and 100 * (full - s.accuracy) <= drop]
    return allowed[-1]
