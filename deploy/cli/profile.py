"""`adroit profile`"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adroit import files
from adroit.deploy.cli.options import AsJson, GateThreshold, Gflops, Provider, Threads
from adroit.deploy.cli.text import describe_latency, describe_statistics
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName
from adroit.text import progress, table

if TYPE_CHECKING:
    from adroit.deploy.deployment.deployment import Deployment
    from adroit.deploy.profile.profile import Candidate, ProfileReport


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
    from adroit.deploy.deployment.deployment import Deployment
    from adroit.deploy.profile.profile import profile as measure
    from adroit.deploy.report.html import write_html
    from adroit.deploy.report.routes import route_figures
    from adroit.models.data.images import read_images

    read = [Deployment.read(path) for path in deployments]
    candidates = _candidates(
        read,
        runtime or [RuntimeName.onnxruntime],
        operators or [OperatorForm.native],
        threads,
        provider or ["CPUExecutionProvider"],
        _thresholds(read, gate_threshold, gflops),
    )
    images = read_images(data).first(image_count) if data else None
    if html:
        files.check_writable(html)
    print(f"measuring {len(candidates)} deployments, about {seconds:g} s each", file=sys.stderr)
    report = measure(candidates, images, batch, size, seconds, progress("counting routes"))
    values = report.to_json()
    if html:
        write_html(
            html, "profile", title="adroit profile", figures=list(map(route_figures, values["routes"])), **values
        )
        files.write_json(html.with_suffix(".json"), values)
        print(f"report: {html}, its figures: {html.with_suffix('.json')}", file=sys.stderr)
    print(files.json_text(values) if as_json else describe(report, layers), end="" if as_json else "\n", flush=True)
    # Last, so that a repository that cannot be written to costs none of what was measured.
    for routed in report.routes:
        if routed.deployment and routed.latency:
            dataclasses.replace(routed.deployment.info, latency=routed.latency.table.to_json()).write(
                routed.deployment.path
            )


def _thresholds(deployments: list[Deployment], gate_threshold: float, gflops: float | None) -> list[float]:
    """Each one's gate threshold; beside one that a budget holds, deployments that no threshold changes run as they are.

    Raises:
        UsageError, UnsupportedModel: as asked_threshold, where no deployment can be held to the budget.
    """
    from adroit.deploy.routing.budget.table import asked_threshold, takes_budget

    if gflops is None:
        return [gate_threshold] * len(deployments)
    held = [deployment for deployment in deployments if takes_budget(deployment)] or deployments
    return [
        asked_threshold(deployment, gate_threshold, gflops) if deployment in held else 0.0 for deployment in deployments
    ]


def _candidates(
    deployments: list[Deployment],
    runtimes: list[RuntimeName],
    operators: list[OperatorForm],
    threads: int | None,
    providers: list[str],
    thresholds: list[float],
) -> list[Candidate]:
    from adroit.deploy.profile.profile import Candidate
    from adroit.deploy.runtimes.options import RuntimeOptions

    found = []
    for deployment, threshold in zip(deployments, thresholds, strict=True):
        for runtime in runtimes:
            # Forms of operators exist for ONNX Runtime only, and where the model has custom ones.
            forms = operators if runtime == RuntimeName.onnxruntime and deployment.info.operators else operators[:1]
            for form in forms:
                title = f"{deployment.info.name} {runtime}" + (f" {form}" if len(forms) > 1 else "")
                title += f" at {threshold:.4g}" if threshold else ""
                found.append(Candidate(title, deployment, RuntimeOptions(runtime, form, threads, providers), threshold))
    return found


def describe(report: ProfileReport, layers: bool) -> str:
    """The report as text."""
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
