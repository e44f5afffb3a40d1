"""The command `adroit budget`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import adroit
from adroit import files
from adroit.deploy.cli.options import AsJson, DataPath, DeploymentPath, FirstImages, Operators, Provider, Threads
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.text import progress, table

if TYPE_CHECKING:
    from adroit.api.gates import BudgetResult


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
    worst: Annotated[bool, typer.Option("--worst", help="Hold the most expensive image to it, not the mean.")] = False,
    settings: Annotated[int, typer.Option(min=2, max=64, help="Thresholds to calibrate, at most.")] = 17,
    instability: Annotated[
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
    result = adroit.budget(
        deployment,
        data or None,
        gflops=gflops,
        milliseconds=milliseconds,
        accuracy_drop=accuracy_drop,
        paper=paper,
        worst=worst,
        html=html,
        limit=images,
        settings=settings,
        instability=instability,
        seconds=seconds,
        progress=progress("calibrating"),
        operators=operators,
        threads=threads,
        providers=provider,
    )
    print(files.json_text(result.to_json()) if as_json else describe(result), end="" if as_json else "\n")


def describe(result: BudgetResult) -> str:
    """Writes the table as text, and the threshold that keeps the budget with how stable it is."""
    from adroit.deploy.report.budget import rows

    found, setting = result.table, result.setting
    parts = [f"{found.images} images, {found.size[0]} x {found.size[1]} pixels padded", table(rows(found))]
    names = ("predicted by", "prediction", "left out")
    facts = [f"{name}: {found.facts[name]}" for name in names if name in found.facts]
    parts += ["\n".join(facts)] if facts else []
    if setting is not None:
        if setting.instability is not None:
            parts.append(f"mean operations differ by up to {setting.instability:.1%} between parts of the images")
        parts.append(f"threshold {setting.threshold:g}")
    return "\n\n".join(parts)
