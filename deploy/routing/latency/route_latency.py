"""The latency of a routed deployment, by image and by route, and the time that skipping saves.

latency = measure_routes(deployment, RuntimeOptions(threads=1), images, samples, seconds=10)
latency.overall.skip_efficiency, latency.table.predict(samples[0].route)
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.latency_table import LatencyTable
from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.export.graph import INPUT
from adroit.deploy.export.routed import export_routed_graph
from adroit.deploy.measure.nodes import OperatorTimes, operator_times
from adroit.deploy.measure.timing import times_in_turns
from adroit.deploy.routing.collect import RouteSample, deployment_costs
from adroit.deploy.routing.latency.losses import Losses, losses
from adroit.deploy.routing.latency.memory import MemoryUse, worst_case_memory
from adroit.deploy.routing.latency.prediction import LatencyPrediction, check_prediction
from adroit.deploy.routing.latency.table_runs import MINIMUM_ROUNDS, REPEATS, TableRuns
from adroit.deploy.routing.route_counts import skip_efficiency
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.torch_runtime import load_reference
from adroit.models.data.images import ImageSet
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.route import Route

# Images that are measured themselves, routes whose losses are shown.
MAXIMUM_IMAGES, SHOWN_ROUTES = 32, 3


@dataclass(frozen=True)
class ImageLatency:
    """The milliseconds of one image: measured (a median; None for images that were left out), and predicted."""

    image: str
    measured: float | None
    predicted: float


@dataclass(frozen=True)
class RouteSavings:
    """The time that a route, or the mean of all images, saves against every path open.

    Attributes:
        images: how many take it.
        share: its operations / those of every path.
        milliseconds: measured.
        skip_efficiency: see deploy/routing/route_counts.py; None where nothing is closed.
        losses: by kind; of single routes only, and only where the machine had one speed.
    """

    images: int
    share: float
    milliseconds: float
    skip_efficiency: float | None
    losses: Losses | None = None


@dataclass(frozen=True)
class RouteLatency:
    """The latency of a routed deployment on a data set.

    Attributes:
        images: in the order of the samples.
        table: what predicts them; measured in turns with them, so that nothing is scaled.
        prediction: its error on the measured images.
        static_open: milliseconds of the static form with every path open.
        all_open: milliseconds of this deployment with every path open: its worst case.
        memory: in that case.
        routes: the most frequent ones. overall: the mean of all measured images.
    """

    images: Sequence[ImageLatency]
    table: LatencyTable
    prediction: LatencyPrediction
    static_open: float
    all_open: float
    memory: MemoryUse
    routes: Sequence[RouteSavings]
    overall: RouteSavings

    def to_json(self) -> dict[str, Any]:
        """Returns every field as JSON values."""
        values = {
            name: value for name, value in dataclasses.asdict(self).items() if name not in ("table", "prediction")
        }
        prediction = msgspec.to_builtins(self.prediction, enc_hook=float)
        return {**values, "table": self.table.to_json(), "prediction": prediction}


def measure_routes(
    deployment: Deployment,
    options: RuntimeOptions,
    images: ImageSet,
    samples: Sequence[RouteSample],
    seconds: float,
    gate_threshold: float = 0.0,
) -> RouteLatency:
    """Measures at most MAXIMUM_IMAGES images of the most frequent size, beside the same network with every path open.

    Images, and the routes that the table is fitted to, take turns.

    Args:
        deployment: the `if` form with adroit's operators, in ONNX Runtime, with its reference/.
        samples: of `images`, as adroit.deploy.routing.collect.collect_routes gives them.
        seconds: to spend on the images; as much again goes to the table.
        gate_threshold: the one that the samples were collected at.

    Raises:
        UsageError: no reference/. UnsupportedModel, EnvironmentFault: as ForcedRuntime.
    """
    size, chosen = _most_frequent_size(samples)
    feeds = {i: deployment.feeds(_input(deployment, images, i), gate_threshold) for i in chosen}
    network = load_reference(deployment)
    assert isinstance(network, DynamicRouting)
    static = export_routed_graph(network, "static")
    with TableRuns(deployment, options, feeds[chosen[0]][INPUT]) as runs:
        table, times = _measure(deployment, runs, static, options, feeds, seconds)
    whole = deployment_costs(deployment, size).of_route(Route.all_open(network.space)).total
    shares = {i: samples[i].operations.total / whole for i in chosen}
    image_times = [times.images[i] for i in chosen]
    mean_share, mean_time = float(np.mean(list(shares.values()))), float(np.mean(image_times))
    return RouteLatency(
        [ImageLatency(s.image, times.images.get(i), table.predict(s.route)) for i, s in enumerate(samples)],
        table,
        check_prediction(table, table.speed, [samples[i].route for i in chosen], image_times),
        times.static_open,
        times.all_open,
        worst_case_memory(deployment, options, size),
        _frequent(deployment, options, static, samples, feeds, times, shares, table.speed.steady),
        _savings(len(chosen), mean_share, mean_time, times.static_open),
    )


@dataclass(frozen=True)
class _Times:
    """Median milliseconds: of each measured image, and of every path open in this form and in the static one."""

    images: Mapping[int, float]
    all_open: float
    static_open: float


def _most_frequent_size(samples: Sequence[RouteSample]) -> tuple[tuple[int, int], list[int]]:
    """Returns the size of most images, and the indices of those of them to measure, evenly spread."""
    ((size, _),) = Counter(sample.size for sample in samples).most_common(1)
    same = [i for i, sample in enumerate(samples) if sample.size == size]
    return size, [same[i] for i in np.linspace(0, len(same) - 1, min(MAXIMUM_IMAGES, len(same))).astype(int)]


def _input(deployment: Deployment, images: ImageSet, index: int) -> NDArray[np.float32]:
    """Returns the input of one image, [1,C,H,W]."""
    one = ImageSet([images.names[index]], lambda _: images.load(index))
    ((_, x),) = one.batches(deployment.preprocessing, 1)
    return x


def _measure(
    deployment: Deployment,
    runs: TableRuns,
    static: onnx.ModelProto,
    options: RuntimeOptions,
    feeds: Mapping[int, Tensors],
    seconds: float,
) -> tuple[LatencyTable, _Times]:
    """Measures the table and the images in turns."""
    images: list[Callable[[], object]] = [functools.partial(runs.free.run, fed) for fed in feeds.values()]
    with OnnxRuntime(static, options, True) as whole:
        fixed: Callable[[], object] = functools.partial(whole.run, deployment.feeds(next(iter(feeds.values()))[INPUT]))
        groups = [runs.forced_calls, [*runs.own_calls, *images], runs.references, [fixed] * REPEATS]
        forced, free, references, static_open = times_in_turns(groups, 2 * seconds, MINIMUM_ROUNDS)
    of_table = runs.times(forced, free[:, : -len(images)], references)
    of_images = map(float, np.median(free[:, -len(images) :], axis=0))
    all_open = of_table.speed.milliseconds / of_table.overhead
    times = _Times(dict(zip(feeds, of_images, strict=True)), all_open, float(np.median(static_open)))
    return runs.table(of_table), times


def _frequent(
    deployment: Deployment,
    options: RuntimeOptions,
    static: onnx.ModelProto,
    samples: Sequence[RouteSample],
    feeds: Mapping[int, Tensors],
    times: _Times,
    shares: Mapping[int, float],
    steady: bool,
) -> list[RouteSavings]:
    """Measures the losses of the routes that most of the measured images take; of a `steady` machine alone.

    They are differences of small times: where the machine's speed changes, they would be nonsense.
    """
    whole = _profiled(static, options, next(iter(feeds.values())))
    model, rows = deployment.load_model(), []
    for route, count in Counter(samples[i].route for i in feeds).most_common(SHOWN_ROUTES):
        taking = [i for i in feeds if samples[i].route == route]
        milliseconds = float(np.median([times.images[i] for i in taking]))
        share, spent = shares[taking[0]], _profiled(model, options, feeds[taking[0]])
        split = losses(spent, milliseconds, whole, times.static_open, share) if steady else None
        rows.append(_savings(count, share, milliseconds, times.static_open, split))
    return rows


def _profiled(model: onnx.ModelProto, options: RuntimeOptions, feeds: Tensors) -> OperatorTimes:
    with tempfile.TemporaryDirectory() as folder:
        runtime = OnnxRuntime(model, options, True, str(Path(folder) / "profile"))
        return operator_times(runtime, {spec.name: feeds[spec.name] for spec in runtime.inputs})


def _savings(
    images: int, share: float, milliseconds: float, static_open: float, split: Losses | None = None
) -> RouteSavings:
    saved = skip_efficiency(milliseconds, share, static_open, 1.0)
    return RouteSavings(images, share, milliseconds, saved, split)
