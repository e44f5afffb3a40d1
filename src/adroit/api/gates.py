"""Networks with gates: the routes that images take, and thresholds that keep a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from adroit import files
from adroit.api.arguments import (
    Images,
    PathLike,
    Progress,
    RuntimeArguments,
    image_set,
    read_deployment,
    runtime_options,
)
from adroit.deploy.deployment.deployment import Deployment
from adroit.errors import UsageError

if TYPE_CHECKING:
    from adroit.deploy.deployment.budget_table import BudgetTable, Setting
    from adroit.deploy.routing.overview import RoutesResult


def routes(
    deployment: PathLike | Deployment,
    images: Sequence[PathLike] = (),
    *,
    data: Images | None = None,
    route: str | None = None,
    output: PathLike | None = None,
    gate_threshold: float = 0.0,
    progress: Callable[[str], Progress] | None = None,
    **runtime: Unpack[RuntimeArguments],
) -> RoutesResult:
    """Finds the routes that images take through a network with gates, and draws them.

    Args:
        deployment: a deployment, or its path REPOSITORY/NAME.
        images: image files whose routes are drawn one by one.
        data: images whose use of every path is drawn.
        route: run the images along this route in PyTorch and compare: "all", "none", a topology's name or a JSON file.
        output: folder for diagrams (SVG, PNG) and routes (JSON).
        gate_threshold: paths whose gate is not above it are closed.
        progress: called with what is done; what it returns is called with images done and images in all.
        runtime: what runs the deployment; see RuntimeArguments.

    Raises:
        UsageError: no images, no gates, no such route, or a folder that cannot be written.
        EnvironmentFault, UnsupportedModel: as `open`.

    >>> found = adroit.routes("repository/routed", ["photos/0.png"], operators="portable")
    >>> [sample.image for sample in found.samples]
    ['photos/0.png']
    """
    from adroit.deploy.routing.overview import route_overview

    if not images and data is None:
        raise UsageError("there are no images to show the routes of", hint="name images, or give --data")
    read = read_deployment(deployment)
    single = image_set([Path(path) for path in images]) if images else None
    many = None if data is None else image_set(data)
    folder = None if output is None else Path(output)
    options = runtime_options(**runtime)
    return route_overview(read, options, single, many, route, folder, gate_threshold, progress)


@dataclass(frozen=True)
class BudgetResult:
    """A budget table, and the setting in it that keeps a budget.

    Attributes:
        name: of the deployment.
        table: thresholds, and what each costs.
        setting: that keeps the budget; None where none was requested.
    """

    name: str
    table: BudgetTable
    setting: Setting | None

    def to_json(self) -> dict[str, Any]:
        """Returns every figure as JSON values."""
        from adroit.deploy.report.budget import report_values

        return report_values(self.name, self.table, self.setting)


def calibrate(
    deployment: PathLike | Deployment,
    images: Images,
    *,
    limit: int | None = None,
    settings: int = 17,
    instability: float = 0.05,
    seconds: float = 8.0,
    progress: Progress | None = None,
    **runtime: Unpack[RuntimeArguments],
) -> BudgetTable:
    """Measures what thresholds of the gates cost on images, and stores the table in the deployment.

    Args:
        deployment: a deployment with gates in the "if" form, or its path REPOSITORY/NAME.
        images: of one size; with label maps the table has an accuracy. limit: use the first so many only.
        settings: thresholds at most, 2 to 64.
        instability: leave thresholds out whose mean operations differ by a larger share between parts of the images.
        seconds: to spend on a table of latencies where none is stored that fits.
        progress: called with images done and images in all.
        runtime: what runs the deployment; see RuntimeArguments.

    Raises:
        UsageError: no gates, another form, images of several sizes, or labels that do not fit.
        EnvironmentFault, UnsupportedModel: as `open`.

    >>> table = adroit.calibrate("repository/routed", "scenes", settings=2, operators="portable", seconds=0.1)
    >>> [setting.threshold for setting in table.settings][0]
    0.0
    """
    from adroit.deploy.deployment.writer import record_results
    from adroit.deploy.routing.budget.calibrate import calibrate as measure
    from adroit.deploy.routing.budget.table import check_form

    read = read_deployment(deployment)
    check_form(read)
    opened, options = image_set(images, limit=limit), runtime_options(**runtime)
    table = measure(read, opened, options, settings, progress, instability, seconds)
    record_results(read, budget=table)
    return table


def budget(
    deployment: PathLike | Deployment,
    images: Images | None = None,
    *,
    gflops: float | None = None,
    milliseconds: float | None = None,
    accuracy_drop: float | None = None,
    paper: bool = False,
    worst: bool = False,
    html: PathLike | None = None,
    limit: int | None = None,
    settings: int = 17,
    instability: float = 0.05,
    seconds: float = 8.0,
    progress: Progress | None = None,
    **runtime: Unpack[RuntimeArguments],
) -> BudgetResult:
    """Finds the threshold of the gates that keeps a budget, in the stored table or in one calibrated on images.

    Args:
        deployment: a deployment with gates in the "if" form, or its path REPOSITORY/NAME.
        images: calibrate on these first, see `calibrate`; the stored table if None.
        gflops, milliseconds: what the mean image may cost: operations / 1e9, or time.
        accuracy_drop: take the cheapest setting that loses at most so many points of mean intersection over union.
        paper: `gflops` is by the dynamic-routing paper's counting.
        worst: hold the most expensive image to the budget, not the mean.
        html: a report with plots; its figures go beside it as JSON.
        limit, settings, instability, seconds, progress, runtime: see `calibrate`.

    Raises:
        UsageError: no table is stored, several budgets at once, or one that no threshold keeps.
        EnvironmentFault, UnsupportedModel: as `open`.

    >>> sizes = {"settings": 2, "seconds": 0.1}
    >>> adroit.budget("repository/routed", "scenes", gflops=1000, operators="portable", **sizes).setting.threshold
    0.0
    """
    from adroit.deploy.report.budget import json_beside, write_report
    from adroit.deploy.routing.budget.table import check_form, choose, read_table, requested_budget

    read = read_deployment(deployment)
    check_form(read)
    limits = (gflops, milliseconds, accuracy_drop)
    is_limited = any(value is not None for value in limits)
    if is_limited:
        requested_budget(*limits)
    report = None if html is None else Path(html)
    for file in () if report is None else (report, json_beside(report)):
        files.check_writable(file)
    if images is None:
        table = read_table(read)
    else:
        table = calibrate(
            read, images, limit=limit, settings=settings, instability=instability, seconds=seconds,
            progress=progress, **runtime,
        )  # fmt: skip
    setting = choose(table, *limits, paper=paper, worst=worst) if is_limited else None
    if report is not None:
        write_report(report, read.info.name, table, setting)
    return BudgetResult(read.info.name, table, setting)
