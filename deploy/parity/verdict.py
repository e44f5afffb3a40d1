"""The verdict of `adroit check`: which comparison a deployment needs, what is recorded of it, when it fails."""

from __future__ import annotations

from collections.abc import Callable

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.records import ParityVerdict
from adroit.deploy.deployment.writer import record_results
from adroit.deploy.parity.check import Progress, check_deployment
from adroit.deploy.parity.quantized import check_quantized
from adroit.deploy.parity.report import ParityReport
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import ParityError, RouteMismatch, UsageError
from adroit.models.data.images import ImageSet


def check_and_record(
    deployment: Deployment,
    images: ImageSet,
    options: RuntimeOptions,
    layers: bool = False,
    progress: Progress | None = None,
    gate_threshold: float = 0.0,
    shift: int | None = None,
    on_report: Callable[[ParityReport], None] | None = None,
) -> ParityReport:
    """Checks a deployment in float32 or in 8 bits, and records the verdict in its description.

    Args:
        deployment, images, options, layers, progress, gate_threshold, shift: as check_deployment.
        on_report: called with the report before it is recorded.

    Raises:
        UsageError: `layers` with another runtime than ONNX Runtime, or as check_deployment.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    if layers and (options.runtime != RuntimeName.onnxruntime or options.version is not None):
        raise UsageError("--layers compares the layers of the exported model in ONNX Runtime", hint="leave one out")
    if deployment.info.quantization is None:
        report = check_deployment(deployment, images, options, layers, progress, gate_threshold, shift)
    else:
        report = check_quantized(deployment, images, options, layers, progress, shift)
    if on_report is not None:
        on_report(report)
    verdict = ParityVerdict(report.passed, report.output.used, report.images, report.facts)
    record_results(deployment, parity=verdict)
    return report


def raise_if_failed(report: ParityReport, where: object) -> None:
    """Raises the error of a report that did not pass.

    Args:
        where: the deployment, as messages name it.

    Raises:
        RouteMismatch: gates of the deployment open other paths than the network's.
        ParityError: an output, or a layer where they were compared, is outside the tolerance.
    """
    if report.routes and report.routes.different:
        raise RouteMismatch(
            f"{where} takes other paths than its PyTorch network",
            facts={"gates that differ": report.routes.different, "largest of them": report.routes.largest_gate},
        )
    if report.passed:
        return
    layer = report.first_wrong_layer
    facts: dict[str, object] = {"limit used": f"{report.output.used:.3g}", "worst at": list(report.output.worst)}
    if layer:
        facts |= {"first wrong layer": f"ONNX node {layer.node}, module {layer.module}"}
    raise ParityError(
        f"{where} is not what its PyTorch network computes",
        facts=facts,
        hint=None if report.layers else "`--layers` names the first layer that is wrong",
    )
