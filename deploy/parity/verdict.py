"""The verdict of `adroit check`: which comparison a deployment needs, what is recorded of it, when it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.records import ParityVerdict
from adroit.deploy.deployment.writer import record_if_writable
from adroit.deploy.parity.check import Progress, check_deployment
from adroit.deploy.parity.quantized import check_quantized
from adroit.deploy.parity.report import ParityReport
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.torch_runtime import torch_threads
from adroit.errors import ParityError, RouteMismatch, UsageError
from adroit.models.data.images import ImageSet
from adroit.models.data.tensor_files import TensorSet

if TYPE_CHECKING:
    from torch import nn


def check_and_record(
    deployment: Deployment,
    data: ImageSet | TensorSet,
    options: RuntimeOptions,
    layers: bool = False,
    progress: Progress | None = None,
    gate_threshold: float = 0.0,
    shift: int | None = None,
    on_report: Callable[[ParityReport], None] | None = None,
    network: nn.Module | None = None,
) -> ParityReport:
    """Checks a deployment in float32 or in 8 bits, and records the verdict in its description.

    PyTorch runs in `options.threads`, or in one: its threads wait for each other longer than they compute here.

    Args:
        deployment, data, options, layers, progress, gate_threshold, shift, network: as check_deployment.
        on_report: called with the report before it is recorded.

    Raises:
        UsageError: `layers` with another runtime than ONNX Runtime, or as check_deployment.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    if layers and (options.runtime != RuntimeName.onnxruntime or options.version is not None):
        raise UsageError("--layers compares the layers of the exported model in ONNX Runtime", hint="leave one out")
    quantized = deployment.info.quantization is not None
    if quantized and (not isinstance(data, ImageSet) or network is not None):
        raise UsageError("a deployment in 8 bits is checked on images, part by part", hint="give images alone")
    with torch_threads(options.threads or 1):
        if quantized and isinstance(data, ImageSet):
            report = check_quantized(deployment, data, options, layers, progress, shift)
        else:
            report = check_deployment(deployment, data, options, layers, progress, gate_threshold, shift, network)
    if on_report is not None:
        on_report(report)
    verdict = ParityVerdict(report.passed, report.output.used, report.images, report.facts)
    record_if_writable(deployment, parity=verdict)
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
    if report.output.passed and not report.network_passed:
        worst = max((report.network or {}).values(), key=lambda comparison: comparison.used)
        raise ParityError(
            f"the network that was given is not the one that {where} was exported from",
            facts={"limit used": f"{worst.used:.3g}", "worst at": list(worst.worst)},
            hint="give its arguments and weights, or export it again",
        )
    layer = report.first_wrong_layer
    facts: dict[str, object] = {"limit used": f"{report.output.used:.3g}", "worst at": list(report.output.worst)}
    if len(report.outputs) > 1:
        facts["outputs"] = ", ".join(name for name, comparison in report.outputs.items() if not comparison.passed)
    if layer:
        facts |= {"first wrong layer": f"ONNX node {layer.node}, module {layer.module}"}
    raise ParityError(
        f"{where} is not what its PyTorch network computes",
        facts=facts,
        hint=None if report.layers else "`--layers` names the first layer that is wrong",
    )
