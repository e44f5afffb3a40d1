"""Whether a deployment is right, and how fast it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from adroit.api.arguments import (
    Data,
    PathLike,
    Progress,
    RuntimeArguments,
    data_set,
    read_deployment,
    read_model,
    runtime_options,
)
from adroit.api.user_networks import load_network
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName

if TYPE_CHECKING:
    from torch import nn

    from adroit.deploy.parity.report import ParityReport
    from adroit.deploy.profile.profile import ProfileReport


def check(
    deployment: PathLike | Deployment,
    images: Data,
    *,
    limit: int | None = None,
    layers: bool = False,
    shift_consistency: int | None = None,
    gate_threshold: float = 0.0,
    gflops: float | None = None,
    network: PathLike | nn.Module | None = None,
    weights: PathLike | None = None,
    weights_key: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    on_report: Callable[[ParityReport], None] | None = None,
    progress: Progress | None = None,
    **runtime: Unpack[RuntimeArguments],
) -> ParityReport:
    """Compares a deployment with its PyTorch network in float64, and records the verdict in the deployment.

    Args:
        deployment: a deployment, or its path REPOSITORY/NAME.
        images: what to compare on: images, or for a network that takes none, arrays by the names of its inputs (or an
            .npz of them). limit: use the first so many samples only.
        layers: compare the output of every layer too.
        shift_consistency: also measure how often shifts below so many pixels leave an image's class as it was.
        gate_threshold: of a network with gates: paths whose gate is not above it are closed.
        gflops: hold the mean image to so many operations / 1e9 instead, by the table of `budget`.
        network: the user's own network, or "FILE.py:CALLABLE": it is run in float32, and held to the same limits.
        weights, weights_key, arguments: of that network, as in `export`.
        on_report: called with the report before the verdict is recorded: a deployment that cannot be written to
            raises, and what was measured would be lost.
        progress: called with images done and images in all.
        runtime: what runs the deployment; see RuntimeArguments.

    Returns:
        The report: `passed`, the share of the tolerance that was used, the worst error and where it is.

    Raises:
        UsageError: images or a deployment that cannot be read, labels that are no classes.
        EnvironmentFault: the runtime is not there. UnsupportedModel: the model is not the exported one.

    >>> report = adroit.check("repository/mine", images="photos")
    >>> report.passed, report.output.used < 1
    (True, True)
    """
    from adroit.deploy.parity.verdict import check_and_record
    from adroit.deploy.routing.budget.table import requested_threshold

    read = read_deployment(deployment)
    threshold = requested_threshold(read, gate_threshold, gflops)
    opened = data_set(read, images, limit, with_classes=True)
    options = runtime_options(**runtime)
    own = None if network is None else load_network(network, weights, arguments, weights_key)
    return check_and_record(read, opened, options, layers, progress, threshold, shift_consistency, on_report, own)


def profile(
    deployments: Sequence[PathLike | Deployment],
    *,
    images: Data | None = None,
    limit: int | None = None,
    batch: int = 1,
    size: tuple[int, int] | None = None,
    runtimes: Sequence[str] = (RuntimeName.onnxruntime,),
    operators: Sequence[str] = (OperatorForm.native,),
    gate_threshold: float = 0.0,
    gflops: float | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    seconds: float = 5.0,
    on_report: Callable[[ProfileReport], None] = lambda report: None,
    on_start: Callable[[int], None] = lambda count: None,
    progress: Progress | None = None,
) -> ProfileReport:
    """Counts operations and measures latency of deployments, side by side in one run.

    Args:
        deployments: deployments, their paths REPOSITORY/NAME, or ONNX files of adroit's or anybody's.
        images: images, or arrays by the names of the inputs: the first `batch` of them are the input, and the routes
            of all images are counted; noise if None.
        limit: use the first so many samples only.
        batch: samples a run. size: (height, width) of the noise in pixels; the deployment's own if None.
        runtimes: each deployment is measured in every one.
        operators: "native" and "portable", to compare both in ONNX Runtime.
        gate_threshold, gflops: as in `check`; they hold those deployments that have gates.
        threads, providers: see RuntimeArguments.
        seconds: to spend on each candidate.
        on_report: called with the report before latencies of routes are stored in the deployments with gates.
        on_start: called with the number of candidates. progress: with images done and in all, of counting routes.

    Returns:
        The report: latency in milliseconds, operations by kind, every layer, and routes where there are gates.

    Raises:
        UsageError: deployments or images that cannot be read, fewer images than `batch`.
        EnvironmentFault: a runtime is not there. UnsupportedModel: a model is not the exported one.

    >>> report = adroit.profile(["repository/mine"], operators=["portable"], threads=1, seconds=0.1)
    >>> report.candidates[0].latency.median > 0
    True
    """
    from adroit.deploy.profile.candidates import side_by_side, store_latencies
    from adroit.deploy.profile.profile import profile as measure

    read = [read_model(deployment) for deployment in deployments]
    options = [
        runtime_options(runtime=name, operators=form, threads=threads, providers=providers)
        for name in runtimes
        for form in operators
    ]
    candidates = side_by_side(read, options, gate_threshold, gflops)
    opened = None if images is None else data_set(read[0], images, limit)
    on_start(len(candidates))
    report = measure(candidates, opened, batch, size, seconds, progress)
    on_report(report)
    store_latencies(report)
    return report
