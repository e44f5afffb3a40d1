"""`adroit budget`"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adroit import files
from adroit.deploy.cli.options import AsJson, DataPath, DeploymentPath, FirstImages, Operators, Provider, Threads
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.text import progress, table

if TYPE_CHECKING:
    from adroit.deploy.routing.budget.table import BudgetTable, Setting


def budget(
    deployment: DeploymentPath,
    data: DataPath = "",
    images: FirstImages = None,
    gflops: Annotated[float | None, typer.Option(help="Hold the mean image to so many operations / 1e9.")] = None,
    milliseconds: Annotated[float | None, typer.Option(help="Hold the mean image to so much time.")] = None,
    accuracy_drop: Annotated[
        float | None, typer.Option(help="The cheapest setting that loses at most so many points of mIoU.")
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="--gflops is of the paper's counting.")] = False,
    worst: Annotated[bool, typer.Option("--worst", help="Hold the dearest image to the budget, not the mean.")] = False,
    settings: Annotated[int, typer.Option(min=2, max=64, help="Thresholds to calibrate, at most.")] = 17,
    steady: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Leave thresholds out whose mean operations differ by a larger share between parts of the images.",
        ),
    ] = 0.05,
    operators: Operators = OperatorForm.native,
    threads: Threads = None,
    provider: Provider = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Time to spend on a table of latencies where none is stored that fits.")
    ] = 8.0,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report with plots, and its JSON beside it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Calibrate gate thresholds on images, and find the one that keeps a budget; without --data, look it up."""
    from adroit.deploy.deployment.deployment import Deployment
    from adroit.deploy.report.budget import json_beside, report_values, write_report
    from adroit.deploy.routing.budget.table import check_form, choose, read_table, wanted_budget

    read = Deployment.read(deployment)
    check_form(read)
    limits = (gflops, milliseconds, accuracy_drop)
    asked = any(limit is not None for limit in limits)
    if asked:
        wanted_budget(*limits)
    if html:
        for file in (html, json_beside(html)):
            files.check_writable(file)
    if data:
        from adroit.deploy.routing.budget.calibrate import calibrate
        from adroit.deploy.runtimes.options import RuntimeOptions
        from adroit.models.data.images import read_images

        options = RuntimeOptions(operators=operators, threads=threads, providers=provider or ("CPUExecutionProvider",))
        pictures, told = read_images(data).first(images), progress("calibrating")
        found = calibrate(read, pictures, options, settings, told, steady, seconds)
        # Read again: other commands may have written to it meanwhile.
        dataclasses.replace(Deployment.read(deployment).info, budget=found.to_json()).write(deployment)
    else:
        found = read_table(read)
    chosen = choose(found, *limits, paper=paper, worst=worst) if asked else None
    if html:
        write_report(html, read.info.name, found, chosen)
    if as_json:
        print(files.json_text(report_values(read.info.name, found, chosen)), end="")
    else:
        print(describe(found, chosen))


def describe(found: BudgetTable, chosen: Setting | None) -> str:
    """The table as text, and the threshold that keeps the budget with how steady it is."""
    from adroit.deploy.report.budget import rows

    parts = [f"{found.images} images, {found.size[0]} x {found.size[1]} pixels padded", table(rows(found))]
    names = ("predicted by", "prediction", "left out")
    told = [f"{name}: {found.facts[name]}" for name in names if name in found.facts]
    parts += ["\n".join(told)] if told else []
    if chosen is not None:
        if chosen.unsteadiness is not None:
            parts.append(f"mean operations differ by up to {chosen.unsteadiness:.1%} between parts of the images")
        parts.append(f"threshold {chosen.threshold:g}")
    return "\n\n".join(parts)
