"""Lists the candidates of `adroit profile`: every deployment in every runtime and form that it has."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.writer import record_if_writable
from adroit.deploy.profile.profile import Candidate, ProfileReport
from adroit.deploy.routing.budget.table import requested_threshold, takes_budget
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import AdroitWarning, UsageError


def side_by_side(
    deployments: Sequence[Deployment],
    options: Sequence[RuntimeOptions],
    gate_threshold: float = 0.0,
    gflops: float | None = None,
) -> list[Candidate]:
    """Combines deployments with options, each combination once, under titles that tell them apart.

    Args:
        options: of one runtime, "native" and "portable" where both are to be compared; a deployment without custom
            operators, and a runtime without forms of them, takes the first alone.
        gate_threshold, gflops: hold deployments with gates to a threshold or a budget.

    A deployment in 8 bits has no form in PyTorch, whose network is the float32 one: that combination is left out.

    Raises:
        UsageError, UnsupportedModel: no deployment can be held to the budget, or nothing is left to measure.
    """
    candidates = []
    for deployment, threshold in zip(deployments, _thresholds(deployments, gate_threshold, gflops), strict=True):
        for runtime in dict.fromkeys(option.runtime for option in options):
            forms = [option for option in options if option.runtime == runtime]
            if runtime == RuntimeName.torch and deployment.info.quantization is not None:
                warnings.warn(
                    f"{deployment.info.name} in PyTorch is left out: it is in 8 bits, the PyTorch network in float32",
                    AdroitWarning,
                    stacklevel=2,
                )
                continue
            if runtime != RuntimeName.onnxruntime or not deployment.info.operators:
                forms = forms[:1]
            for form in forms:
                title = f"{deployment.info.name} {runtime}" + (f" {form.operators}" if len(forms) > 1 else "")
                title += f" at {threshold:.4g}" if threshold else ""
                candidates.append(Candidate(title, deployment, form, threshold))
    if not candidates:
        raise UsageError("nothing is left to measure", hint="measure in another runtime, as --runtime onnxruntime")
    return candidates


def _thresholds(deployments: Sequence[Deployment], gate_threshold: float, gflops: float | None) -> list[float]:
    """Returns the gate threshold of each.

    A budget holds those deployments that a threshold changes; others beside them run as they are.
    """
    if gflops is None:
        return [gate_threshold] * len(deployments)
    held = [deployment for deployment in deployments if takes_budget(deployment)] or deployments
    return [
        requested_threshold(deployment, gate_threshold, gflops) if deployment in held else 0.0
        for deployment in deployments
    ]


def store_latencies(report: ProfileReport) -> None:
    """Stores in each deployment with gates what its parts take, for predictions and budgets."""
    for routed in report.routes:
        if routed.deployment and routed.latency:
            record_if_writable(routed.deployment, latency=routed.latency.table)
