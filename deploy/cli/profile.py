"""The command `adroit profile`."""

from __future__ import annotations

import json
import sys
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
    from adroit.deploy.profile.profile import ProfileReport


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
    from adroit.deploy.measure.counts import total_counts
    from adroit.models.operators.counts import COLUMNS
    from adroit.text import readable_count

    rows: list[tuple[str, ...]] = [
        (
            "deployment",
            "median ms",
            "p90",
            "p99",
            "spread",
            "rank",
            "runs",
            "multiply-adds",
            "abs. differences",
            "elementwise",
            "transcend.",
        )
    ]
    for c in report.candidates:
        t, o = c.latency, total_counts(c.layers)
        counted = [str(getattr(o, column)) for column in COLUMNS]
        times = [f"{value:.4g}" for value in (t.median, t.p90, t.p99)]
        rows.append((c.title, *times, f"{t.spread:.1%}", str(c.rank), str(t.runs), *counted))
    if any(c.skip_efficiency is not None for c in report.candidates):
        shown = ["" if c.skip_efficiency is None else f"{c.skip_efficiency:.2f}" for c in report.candidates]
        rows = [(*row, last) for row, last in zip(rows, ["skip efficiency", *shown], strict=True)]
    machine = [", ".join(f"{k} {v}" for k, v in report.machine.items())]
    if not report.quiet:
        machine.append("the machine's speed changed while this was measured: do not compare figures with another run's")
    parts = ["\n".join(machine), table(rows)]
    for routed in report.routes:
        parts.append(describe_statistics(routed.statistics))
        parts += [describe_latency(routed.latency)] if routed.latency else []
    if layers:
        for c in report.candidates:
            detail = [
                ("node", "operator", "output", "multiply-adds", "abs. differences", "elementwise", "transcend.", "ms")
            ]
            for layer in c.layers:
                n, spent = layer.counts, c.nodes.get(layer.node)
                detail.append(
                    (
                        layer.node,
                        layer.operator,
                        "x".join(map(str, layer.shape)),
                        readable_count(n.multiply_adds),
                        readable_count(n.absolute_differences),
                        readable_count(n.elementwise),
                        readable_count(n.transcendental),
                        f"{spent:.3f}" if spent else "",
                    )
                )
            parts.append(f"{c.title}\n{table(detail)}")
    return "\n\n".join(parts)
