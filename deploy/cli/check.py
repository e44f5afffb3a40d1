"""`adroit check`"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from adroit import files
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
from adroit.errors import ParityError, RouteMismatch, UsageError
from adroit.text import progress, table

if TYPE_CHECKING:
    from adroit.deploy.deployment.deployment import Deployment
    from adroit.deploy.parity.report import ParityReport


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
    from adroit.deploy.parity.check import check_deployment
    from adroit.deploy.parity.quantized import check_quantized
    from adroit.deploy.routing.budget.table import asked_threshold
    from adroit.deploy.runtimes.options import RuntimeOptions
    from adroit.models.data.images import read_images

    read = Deployment.read(deployment)
    threshold = asked_threshold(read, gate_threshold, gflops)
    image_set = read_images(data, read.info.labels).first(images)
    providers = provider or ("CPUExecutionProvider",)
    options = RuntimeOptions(runtime, operators, threads, providers, build, cuda_graph, allow_host_code)
    if layers and (runtime != RuntimeName.onnxruntime or build is not None):
        raise UsageError("--layers compares the layers of the exported model in ONNX Runtime", hint="leave one out")
    if read.info.quantization is None:
        report = check_deployment(read, image_set, options, layers, progress("checking"), threshold, shift_consistency)
    else:
        report = check_quantized(read, image_set, options, layers, progress("checking"), shift_consistency)
    print(files.json_text(report.to_json()) if as_json else describe(read, report), flush=True)
    verdict = {"passed": report.passed, "used": report.output.used, "images": report.images, **report.facts}
    dataclasses.replace(read.info, parity=verdict).write(deployment)
    if report.routes and report.routes.different:
        raise RouteMismatch(
            f"{deployment} takes other paths than its PyTorch network",
            facts={"gates that differ": report.routes.different, "largest of them": report.routes.largest_gate},
        )
    if not report.passed:
        raise ParityError(
            f"{deployment} is not what its PyTorch network computes",
            facts=_where(report),
            hint=None if report.layers else "`--layers` names the first layer that is wrong",
        )


def describe(deployment: Deployment, report: ParityReport) -> str:
    """The report as text."""
    output, count = report.output, report.images
    predictions = "images" if deployment.info.task == "classification" else "pixels"
    lines = [
        f"{deployment.info.name} on {report.facts['runtime']} ({report.facts['operators']}), {count} images",
        f"{deployment.info.outputs[0].name}: {output.used:.3f} of the limit used, worst error {output.error:.3g}"
        f" (limit {output.limit:.3g}) at {list(output.worst)}",
        f"same class as PyTorch: {report.argmax_equal:.4%} of the {predictions}",
    ]
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


def _where(report: ParityReport) -> dict[str, object]:
    layer = report.first_wrong_layer
    facts: dict[str, object] = {"limit used": f"{report.output.used:.3g}", "worst at": list(report.output.worst)}
    if layer:
        facts |= {"first wrong layer": f"ONNX node {layer.node}, module {layer.module}"}
    return facts
