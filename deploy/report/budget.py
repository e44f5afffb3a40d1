"""Writes a budget table as text, HTML and JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adroit import files
from adroit.deploy.deployment.budget_table import BudgetCost, BudgetTable, Setting
from adroit.deploy.report.html import write_html
from adroit.deploy.report.plot import Point, line_plot
from adroit.errors import UsageError

# The heading of _row; "worst" belongs to the column before it.
HEADING = (
    *("threshold", "GFLOPs", "worst", "unsteady", "paper", "worst", "ms", "worst", "predicted", "worst"),
    *("same class", "mIoU"),
)


def rows(table: BudgetTable) -> list[tuple[str, ...]]:
    """Returns the table as text, its heading first; columns that no setting has are left out."""
    lines = [
        HEADING,
        *(_row(setting) for setting in table.settings),
    ]
    used = [i for i in range(len(lines[0])) if any(row[i] for row in lines[1:])]
    return [(*(row[i] for i in used), last) for row, last in zip(lines, ["routes", *_routes(table)], strict=True)]


def _row(setting: Setting) -> tuple[str, ...]:
    s = setting
    costs = (s.gigaflops, s.paper_gigaflops, s.milliseconds, s.predicted_milliseconds)
    own, worst, *figures = [figure for cost in costs for figure in _figures(cost)]
    unsteady = "" if s.instability is None else f"{s.instability:.1%}"
    accuracy = "" if s.accuracy is None else f"{s.accuracy:.2%}"
    return (f"{s.threshold:g}", own, worst, unsteady, *figures, f"{s.agreement:.2%}", accuracy)


def _figures(cost: BudgetCost | None) -> tuple[str, str]:
    return ("", "") if cost is None else (f"{cost.mean:.4g}", f"{cost.worst:.4g}")


def _routes(table: BudgetTable) -> list[str]:
    return [str(setting.routes) for setting in table.settings]


def report_values(name: str, table: BudgetTable, chosen: Setting | None) -> dict[str, Any]:
    """Returns every figure of a report, for the JSON beside it."""
    return {
        "deployment": name,
        "table": table.to_json(),
        "chosen_threshold": None if chosen is None else chosen.threshold,
    }


def json_beside(path: Path) -> Path:
    """Returns the path of a report's JSON; raises UsageError where it would be the report itself."""
    if path.suffix == ".json":
        raise UsageError(f"{path} is where the report's JSON goes", hint="give a name that ends in .html")
    return path.with_suffix(".json")


def write_report(path: Path, name: str, table: BudgetTable, chosen: Setting | None) -> None:
    """Writes the HTML report to `path` and the JSON beside it.

    Raises:
        UsageError: a path that cannot be written.
    """
    beside = json_beside(path)
    files.write_json(beside, report_values(name, table, chosen))
    labeled = all(setting.accuracy is not None for setting in table.settings)
    quality = "mean intersection over union, %" if labeled else "pixels that keep their class, %"
    axes = {"operations, GFLOPs": "gigaflops", "latency, ms": "milliseconds"}
    plots = [line_plot(_points(table, cost, labeled, chosen), axis, quality) for axis, cost in axes.items()]
    heading, *lines = rows(table)
    write_html(
        path,
        "budget",
        title=f"adroit budget: {name}",
        table=table,
        plots=plots,
        heading=heading,
        lines=list(zip(lines, [setting is chosen for setting in table.settings], strict=True)),
        json_name=beside.name,
    )


def _points(table: BudgetTable, cost: str, labeled: bool, chosen: Setting | None) -> list[Point]:
    return [
        Point(
            getattr(setting, cost).mean,
            100 * ((setting.accuracy or 0.0) if labeled else setting.agreement),
            f"threshold {setting.threshold:g}",
            setting is chosen,
        )
        for setting in table.settings
    ]
