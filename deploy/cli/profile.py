"""The command `adroit profile`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import adroit
from adroit import files
from adroit.deploy.cli.options import AsJson, GateThreshold, Gflops, Provider, Threads
from adroit.deploy.cli.text import describe_latency, describe_statistics
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName
from adroit.text import progress, table

if TYPE_CHECKING:
    from adroit.deploy.profile.profile import CandidateProfile, ProfileReport


def profile(
    deployments: Annotated[
        list[Path], typer.Argument(metavar="DEPLOYMENT...", help="Deployments to measure side by side.")
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Images to measure with, and to count routes of; noise if not given."),
    ] = None,
    image_count: Annotated[
        int | None, typer.Option("--images", min=1, help="Use the first so many images only.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a run.")] = 1,
    size: Annotated[
        tuple[int, int] | None, typer.Option(metavar="HEIGHT WIDTH", help="Size of the noise in pixels.")
    ] = None,
    runtime: Annotated[list[RuntimeName] | None, typer.Option(help="Repeat to compare runtimes.")] = None,
    operators: Annotated[list[OperatorForm] | None, typer.Option(help="Repeat to compare native and portable.")] = None,
    gate_threshold: GateThreshold = 0.0,
    gflops: Gflops = None,
    threads: Threads = None,
    provider: Provider = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time to spend on each deployment.")] = 5.0,
    layers: Annotated[bool, typer.Option("--layers", help="Print every layer.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report with plots, and its figures as JSON beside it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count operations and measure latency of deployments, side by side in one run.

    With --data, what the parts of a routed network take is stored in its deployment.
    """
    if html:
        files.check_writable(html)

    def show(report: ProfileReport) -> None:
        text = files.json_text(report.to_json())
        if html:
            _write_html(html, json.loads(text))  # as JSON has it, so that the report shows what its figures' file holds
        print(text if as_json else describe(report, layers), end="" if as_json else "\n", flush=True)

    adroit.profile(
        deployments,
        images=data,
        limit=image_count,
        batch=batch,
        size=size,
        runtimes=runtime or [RuntimeName.onnxruntime],
        operators=operators or [OperatorForm.native],
        gate_threshold=gate_threshold,
        gflops=gflops,
        threads=threads,
        providers=provider,
        seconds=seconds,
        on_start=lambda count: print(f"measuring {count} deployments, about {seconds:g} s each", file=sys.stderr),
        on_report=show,
        progress=progress("counting routes"),
    )


def _write_html(path: Path, values: dict[str, Any]) -> None:
    from adroit.deploy.report.html import write_html
    from adroit.deploy.report.routes import route_figures

    figures = list(map(route_figures, values["routes"]))
    write_html(path, "profile", title="adroit profile", figures=figures, **values)
    files.write_json(path.with_suffix(".json"), values)
    print(f"report: {path}, its figures: {path.with_suffix('.json')}", file=sys.stderr)


def describe(report: ProfileReport, layers: bool) -> str:
    """Writes the report as text."""
    machine = [", ".join(f"{k} {v}" for k, v in report.machine.items())]
    if not report.quiet:
        machine.append("the machine's speed changed while this was measured: do not compare figures with another run's")
    parts = ["\n".join(machine), table(_candidate_rows(report.candidates))]
    for c in report.candidates:
        parts += _counting_remarks(c)
    for routed in report.routes:
        parts.append(describe_statistics(routed.statistics))
        parts += [describe_latency(routed.latency)] if routed.latency else []
    if layers:
        parts += [f"{c.title}\n{table(_layer_rows(c))}" for c in report.candidates]
    return "\n\n".join(parts)


_COLUMNS = ("multiply-adds", "abs. differences", "elementwise", "transcend.")


def _candidate_rows(candidates: Sequence[CandidateProfile]) -> list[tuple[str, ...]]:
    from adroit.models.operators.counts import COLUMNS

    rows: list[tuple[str, ...]] = [("deployment", "median ms", "p90", "p99", "spread", "rank", "runs", *_COLUMNS)]
    for c in candidates:
        t, o, bound = c.latency, c.counted.total, "at least " if c.counted.uncounted else ""
        counted = [f"{bound}{getattr(o, column)}" for column in COLUMNS]
        times = [f"{value:.4g}" for value in (t.median, t.p90, t.p99)]
        rows.append((c.title, *times, f"{t.spread:.1%}", str(c.rank), str(t.runs), *counted))
    if any(c.skip_efficiency is not None for c in candidates):
        shown = ["" if c.skip_efficiency is None else f"{c.skip_efficiency:.2f}" for c in candidates]
        rows = [(*row, last) for row, last in zip(rows, ["skip efficiency", *shown], strict=True)]
    return rows


def _counting_remarks(candidate: CandidateProfile) -> list[str]:
    """Writes what is missing from the operations of a candidate, and which branches they are of."""
    remarks = []
    if candidate.counted.uncounted:
        rows: list[tuple[str, ...]] = [("node", "operator", "ms", "of the time", "reason")]
        for node in candidate.counted.uncounted:
            spent, share = candidate.nodes.milliseconds.get(node.node), candidate.nodes.share(node.node)
            times = ("-" if spent is None else f"{spent:.3f}", "-" if share is None else f"{share:.1%}")
            rows.append((node.node, node.operator, *times, node.reason))
        remarks.append(f"{candidate.title}: not counted\n{table(rows)}")
    if candidate.counted.branches:
        chosen = ", ".join(f"{branch} of {node}" for node, branch in candidate.counted.branches.items())
        remarks.append(f"{candidate.title}: of branches the one with more operations is counted: {chosen}")
    return remarks


def _layer_rows(candidate: CandidateProfile) -> list[tuple[str, ...]]:
    from adroit.models.operators.counts import COLUMNS
    from adroit.text import readable_count

    rows: list[tuple[str, ...]] = [("node", "operator", "output", *_COLUMNS, "ms")]
    for layer in candidate.layers:
        spent = candidate.nodes.milliseconds.get(layer.node)
        counted = [readable_count(getattr(layer.counts, column)) for column in COLUMNS]
        shape = "x".join(map(str, layer.shape))
        rows.append((layer.node, layer.operator, shape, *counted, f"{spent:.3f}" if spent else "-"))
    if candidate.other_milliseconds is not None:
        spent = candidate.other_milliseconds
        rows.append(("everything else of a run", *[""] * (len(_COLUMNS) + 2), f"{spent:.3f}"))
    return rows
