"""Profiles one or several deployments side by side: operations, latency, routes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import REFERENCE_FOLDER
from adroit.deploy.deployment.routed import executed_route
from adroit.deploy.measure.counts import LayerCounts, ModelCounts, count_deployment
from adroit.deploy.measure.nodes import NodeTimes, node_times
from adroit.deploy.measure.reference import ONE_SPEED, reference_work
from adroit.deploy.measure.timing import Latency, machine_facts, measure_latency, ranks
from adroit.deploy.routing.collect import Progress, collect_routes
from adroit.deploy.routing.latency.route_latency import RouteLatency, measure_routes
from adroit.deploy.routing.route_counts import count_route, efficiencies
from adroit.deploy.routing.statistics.margins import gate_values
from adroit.deploy.routing.statistics.route_statistics import RouteStatistics, route_statistics
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.runtime import Runtime
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet
from adroit.models.data.tensor_files import TensorSet


@dataclass(frozen=True)
class Candidate:
    """One deployment in one runtime at one gate threshold (see Deployment.feeds); `title` names it."""

    title: str
    deployment: Deployment
    options: RuntimeOptions
    gate_threshold: float = 0.0


@dataclass(frozen=True)
class CandidateProfile:
    """The profile of a candidate: facts of the runtime, latency of a batch, operations by layer, times of nodes.

    `rank` is by latency; deployments that differ by less than the measurement's spread share one.
    `skip_efficiency` is of a routed network (deploy/routing/route_counts.py), where its all-open static
    form was measured too.
    """

    title: str
    facts: Mapping[str, Any]
    input_shape: tuple[int, ...]
    latency: Latency
    counted: ModelCounts
    nodes: NodeTimes
    rank: int
    skip_efficiency: float | None = None
    gate_threshold: float = 0.0

    @property
    def other_milliseconds(self) -> float | None:
        """What a profiled run spends outside `layers`: in nodes that ONNX Runtime renames, and between nodes."""
        if not self.nodes.run:
            return None
        return self.nodes.run - sum(self.nodes.milliseconds.get(layer.node, 0.0) for layer in self.layers)

    @property
    def layers(self) -> Sequence[LayerCounts]:
        """The operations of each layer that computes."""
        return self.counted.layers

    def to_json(self) -> dict[str, Any]:
        """Returns every figure as JSON values; an interface of `adroit profile --json`."""
        return {
            "title": self.title,
            "facts": dict(self.facts),
            "input_shape": list(self.input_shape),
            "latency_milliseconds": dataclasses.asdict(self.latency),
            "rank": self.rank,
            "gate_threshold": self.gate_threshold,
            "operations": dataclasses.asdict(self.counted.total),
            "operations_complete": not self.counted.uncounted,
            "skip_efficiency": self.skip_efficiency,
            "layers": [
                {
                    "node": layer.node,
                    "operator": layer.operator,
                    "shape": list(layer.shape),
                    **dataclasses.asdict(layer.counts),
                    "milliseconds": self.nodes.milliseconds.get(layer.node),
                }
                for layer in self.layers
            ],
            "profiled_run_milliseconds": self.nodes.run or None,
            "other_milliseconds": self.other_milliseconds,
            "not_counted": [
                {
                    **dataclasses.asdict(uncounted),
                    "milliseconds": self.nodes.milliseconds.get(uncounted.node),
                    "share": self.nodes.share(uncounted.node),
                }
                for uncounted in self.counted.uncounted
            ],
            "counted_branches": dict(self.counted.branches),
        }


@dataclass(frozen=True)
class RouteReport:
    """The routes of a network on images, and their latency where it can be measured.

    `latency` is of the `if` form with adroit's operators in ONNX Runtime, `deployment`, if it is among the candidates.
    """

    statistics: RouteStatistics
    latency: RouteLatency | None
    deployment: Deployment | None

    def to_json(self) -> dict[str, Any]:
        """Returns the statistics and the latency as JSON values."""
        return {**self.statistics.to_json(), "latency": None if self.latency is None else self.latency.to_json()}


@dataclass(frozen=True)
class ProfileReport:
    """All candidates of one run on one machine; `routes`, where there were images, of every routed network.

    `machine` has the median of the reference work (deploy/measure/reference.py), which took turns with the
    candidates, and its spread: figures of another run compare with these only where its median is the same.
    """

    machine: Mapping[str, Any]
    candidates: Sequence[CandidateProfile]
    routes: Sequence[RouteReport] = ()

    @property
    def quiet(self) -> bool:
        """Whether the machine had one speed during the measurement."""
        return bool(self.machine["reference_spread"] <= ONE_SPEED)

    def to_json(self) -> dict[str, Any]:
        """Returns the machine, the candidates and the routes as JSON values."""
        return {
            "machine": dict(self.machine),
            "quiet": self.quiet,
            "candidates": [c.to_json() for c in self.candidates],
            "routes": [routed.to_json() for routed in self.routes],
        }


def profile(
    candidates: Sequence[Candidate],
    data: ImageSet | TensorSet | None,
    batch: int,
    size: tuple[int, int] | None,
    seconds: float,
    progress: Progress | None = None,
) -> ProfileReport:
    """Measures the candidates in turns within one process.

    Args:
        data: the first `batch` samples are the input, and the routes of all images are counted; noise
            if None (an operator's time here does not depend on values).
        size: height and width of the noise; the deployment's own if None.
        seconds: to spend on each candidate.

    Raises:
        UsageError: too few images, or as Runtime.run. EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    machine = machine_facts()
    feeds = [_feeds(c, data, batch, size) for c in candidates]
    runtimes = [open_runtime(c.deployment, c.options) for c in candidates]
    try:
        calls = [lambda r=r, f=f: r.run(f) for r, f in zip(runtimes, feeds, strict=True)]
        *latencies, reference = measure_latency([*calls, reference_work()], seconds)
        machine |= {"reference_ms": round(reference.median, 4), "reference_spread": round(reference.spread, 4)}
        counts = [_counts(c.deployment, r, f) for c, r, f in zip(candidates, runtimes, feeds, strict=True)]
        totals = [counted.total.total for counted in counts]
        saved = efficiencies([c.deployment for c in candidates], [t.median for t in latencies], totals)
        profiles = [
            CandidateProfile(
                c.title, r.facts, _image(c, f).shape, latency, counted, _nodes(c, f), rank, efficiency, c.gate_threshold
            )
            for c, r, f, latency, counted, rank, efficiency in zip(
                candidates, runtimes, feeds, latencies, counts, ranks(latencies), saved, strict=True
            )
        ]
    finally:
        for runtime in runtimes:
            runtime.close()
    routes = route_reports(candidates, data, seconds, progress) if isinstance(data, ImageSet) else []
    return ProfileReport(machine, profiles, routes)


def route_reports(
    candidates: Sequence[Candidate],
    images: ImageSet,
    seconds: float,
    progress: Progress | None = None,
) -> list[RouteReport]:
    """Reports the routes of each network among the candidates once, however many deployments it has.

    A report is of the deployment whose latency can be measured, at its threshold, or of the first.
    """
    networks: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        routing = candidate.deployment.info.routing
        if routing is not None and routing.gate != "none" and routing.route is None:
            networks.setdefault(candidate.deployment.info.checkpoint.sha256, []).append(candidate)
    reports = []
    for same in networks.values():
        timed = next(filter(_can_be_timed, same), None)
        first = timed or same[0]
        gate_threshold = first.gate_threshold
        labeled = images.maps is not None
        samples = collect_routes(
            first.deployment, first.options, images, gate_threshold, progress=progress, with_losses=labeled
        )
        # A deployment outputs 0 for closed gates: their values come from PyTorch alone.
        has_reference = (first.deployment.path / REFERENCE_FOLDER).is_dir()
        values = gate_values(first.deployment, images, gate_threshold, first.options.threads) if has_reference else None
        statistics = route_statistics(first.deployment, samples, gate_threshold, first.title, values)
        if timed is None:
            reports.append(RouteReport(statistics, None, None))
        else:
            latency = measure_routes(timed.deployment, timed.options, images, samples, seconds, gate_threshold)
            reports.append(RouteReport(statistics, latency, timed.deployment))
    return reports


def _can_be_timed(candidate: Candidate) -> bool:
    """Whether deploy/routing/latency/route_latency.py can measure it."""
    info, options = candidate.deployment.info, candidate.options
    native = options.runtime == RuntimeName.onnxruntime and options.operators == "native" and info.form == "operators"
    whole = (candidate.deployment.path / REFERENCE_FOLDER).is_dir() and candidate.deployment.baked_threshold is None
    return native and whole and info.routing is not None and info.routing.form == "if"


def _counts(deployment: Deployment, runtime: Runtime, fed: Mapping[str, Any]) -> ModelCounts:
    if deployment.info.routing is None:
        return count_deployment(deployment, {name: value.shape for name, value in fed.items()})
    batch, _, height, width = fed[deployment.info.inputs[0].name].shape
    route = executed_route(deployment, runtime.run(fed).get("gates"))
    return ModelCounts(count_route(deployment, route, batch, (height, width)))


def _nodes(candidate: Candidate, fed: Mapping[str, Any]) -> NodeTimes:
    is_onnx = candidate.options.runtime == RuntimeName.onnxruntime
    return node_times(candidate.deployment, candidate.options, fed) if is_onnx else NodeTimes()


def _image(candidate: Candidate, fed: Mapping[str, Any]) -> NDArray[Any]:
    image: NDArray[Any] = fed[candidate.deployment.info.inputs[0].name]
    return image


def _feeds(
    candidate: Candidate, data: ImageSet | TensorSet | None, batch: int, size: tuple[int, int] | None
) -> dict[str, Any]:
    deployment = candidate.deployment
    if data is not None:
        _, feeds = next(deployment.batches(data, batch, candidate.gate_threshold))
        count = len(feeds[deployment.info.inputs[0].name])
        if count < batch:
            raise UsageError(f"a batch of {batch} needs as many samples of one size, there are {count}")
        return feeds
    feeds = deployment.noise(batch, size)
    deployment.check_inputs(feeds)
    if deployment.info.preprocessing is None:
        return feeds
    return deployment.feeds(feeds[deployment.info.inputs[0].name], candidate.gate_threshold)
