"""The command `adroit check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import adroit
from adroit import files
from adroit.deploy.cli.network_options import NetworkArgument, WeightsFile, WeightsKey, read_argument
from adroit.deploy.cli.options import (
    AllowHostCode,
    AsJson,
    BuildVersion,
    CudaGraph,
    DataPath,
    DeploymentPath,
    FirstImages,
    GateThreshold,
    Gflops,
    Operators,
    Provider,
    Threads,
)
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName
from adroit.text import progress, table

if TYPE_CHECKING:
    from adroit.deploy.deployment.deployment import Deployment
    from adroit.deploy.parity.report import ParityReport
    from adroit.deploy.parity.tolerance import Comparison


def check(
    deployment: DeploymentPath,
    data: DataPath,
    images: FirstImages = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare every layer, and name the first wrong one.")
    ] = False,
    shift_consistency: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            min=2,
            help="Also measure how often shifts of less than so many pixels (ImageNet: 32) leave an image's class, or"
            " its pixels', as it was.",
        ),
    ] = None,
    gate_threshold: GateThreshold = 0.0,
    gflops: Gflops = None,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:CALLABLE", help="The user's own network too: held in float32 to the same limits."
        ),
    ] = None,
    weights: WeightsFile = None,
    weights_key: WeightsKey = None,
    argument: NetworkArgument = None,
    runtime: Annotated[RuntimeName, typer.Option(help="What runs the deployment.")] = RuntimeName.onnxruntime,
    operators: Operators = OperatorForm.native,
    threads: Threads = None,
    provider: Provider = None,
    build: BuildVersion = None,
    cuda_graph: CudaGraph = False,
    allow_host_code: AllowHostCode = False,
    as_json: AsJson = False,
) -> None:
    """Compare a deployment with the float64 PyTorch network. Exit code 3 where it leaves the tolerance."""
    from adroit.deploy.deployment.deployment import Deployment
    from adroit.deploy.parity.verdict import raise_if_failed

    read = Deployment.read(deployment)

    def show(report: ParityReport) -> None:
        print(files.json_text(report.to_json()) if as_json else describe(read, report), flush=True)

    report = adroit.check(
        read,
        data,
        limit=images,
        layers=layers,
        shift_consistency=shift_consistency,
        gate_threshold=gate_threshold,
        gflops=gflops,
        network=network,
        weights=weights,
        weights_key=weights_key,
        arguments=dict(map(read_argument, argument or [])) or None,
        on_report=show,
        progress=progress("checking"),
        runtime=runtime,
        operators=operators,
        threads=threads,
        providers=provider,
        version=build,
        cuda_graph=cuda_graph,
        allow_host_code=allow_host_code,
    )
    raise_if_failed(report, deployment)


def _comparison(name: str, output: Comparison) -> str:
    return (
        f"{name}: {output.used:.3f} of the limit used, worst error {output.error:.3g}"
        f" (limit {output.limit:.3g}) at {list(output.worst)}"
    )


def describe(deployment: Deployment, report: ParityReport) -> str:
    """Writes the report as text."""
    count, samples = report.images, "samples" if deployment.info.preprocessing is None else "images"
    predictions = "images" if deployment.info.task == "classification" else "pixels"
    lines = [f"{deployment.info.name} on {report.facts['runtime']} ({report.facts['operators']}), {count} {samples}"]
    lines += [_comparison(name, each) for name, each in report.outputs.items()]
    lines += [_comparison(f"the network that was given, {name}", each) for name, each in (report.network or {}).items()]
    if report.empirical:
        lines.append(f"limits measured in float32, for want of a rule: {', '.join(report.empirical)}")
    if report.argmax_equal is not None:
        lines.append(f"same class as PyTorch: {report.argmax_equal:.4%} of the {predictions}")
    if deployment.info.quantization is not None:
        lines.append("in 8 bits: every part was compared on its own inputs, the classes with the float64 network")
    if report.top1:
        ours, theirs = report.top1
        lines.append(f"top-1 accuracy: {ours:.2%}, PyTorch {theirs:.2%}")
    if report.mean_iou:
        ours, theirs = report.mean_iou
        lines.append(f"mean intersection over union: {ours:.2%}, PyTorch {theirs:.2%}")
    if report.consistency:
        c, (ours, theirs) = report.consistency, report.consistency.consistent
        padded = f", images padded by up to {c.padding} pixels" if c.padding else ""
        lines.append(
            f"{c.measure}: {ours:.2f}%, PyTorch {theirs:.2f}% (two crops, shifts below {c.pixels} pixels,"
            f" {c.passes} passes{padded})"
        )
    if report.routes:
        r = report.routes
        lines.append(f"routes: {r.different} of {r.gates} gates differ; the images took {r.routes} routes")
    if report.layers:
        rows = [("node", "output of", "limit used", "worst error")]
        rows += [(r.node, r.module, f"{r.comparison.used:.3f}", f"{r.comparison.error:.3g}") for r in report.layers]
        lines += ["", table(rows)]
    return "\n".join([*lines, "", "PASSED" if report.passed else "FAILED"])
