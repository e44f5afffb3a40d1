"""Calibrates a budget table: thresholds that spread over the possible costs, each run on every image.

    table = calibrate(Deployment.read(path), read_images("images"), RuntimeOptions(threads=1))

Images run one at a time, since a batch computes every path that any of its samples needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.budget_table import BudgetCost, BudgetTable, Setting
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.latency_table import LatencyTable, Speed
from adroit.deploy.deployment.names import GATES_OUTPUT
from adroit.deploy.measure.timing import machine_facts, times_in_turns
from adroit.deploy.parity.labels import label_map
from adroit.deploy.routing.budget.agreement import ThresholdAgreement
from adroit.deploy.routing.budget.drift import gate_counts
from adroit.deploy.routing.budget.stability import STEADY, instability
from adroit.deploy.routing.budget.table import check_form
from adroit.deploy.routing.budget.thresholds import PROBED_IMAGES, choose_thresholds
from adroit.deploy.routing.collect import RouteSample, route_samples
from adroit.deploy.routing.latency.forced import ForcedRuntime
from adroit.deploy.routing.latency.prediction import check_prediction
from adroit.deploy.routing.latency.speed import reference_run, speed_of
from adroit.deploy.routing.latency.table import stored_latency_table
from adroit.deploy.routing.latency.table_runs import measure_latency_table
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.runtime import Runtime
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet

Progress = Callable[[int, int], None]
SETTINGS = 17
# Latency: images that are measured, each as often at every threshold, and reference runs a round.
TIMED_IMAGES, TIMED_ROUNDS, TIMED_REFERENCES = 12, 5, 4


def calibrate(
    deployment: Deployment,
    images: ImageSet,
    options: RuntimeOptions,
    settings: int = SETTINGS,
    progress: Progress | None = None,
    steady: float = STEADY,
    seconds: float = 8.0,
) -> BudgetTable:
    """Runs every image at every threshold; writes nothing.

    Args:
        deployment: a routed deployment in the `if` form.
        images: of one size. With label maps the table has an accuracy.
        settings: how many thresholds at most, the first 0 and the last 1. Costs that none has are left
            out, and thresholds whose mean operations are not below those before.
        progress: called with images done and images in all.
        steady: thresholds between 0 and 1 that are unsteadier (deploy/routing/budget/stability.py) are left out.
        seconds: to spend on a table of latencies where none is stored that fits.

    Raises:
        UsageError: no gates, another form, images of several sizes, or labels that do not fit.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    check_form(deployment)
    size = _checked_size(deployment, images)
    with open_runtime(deployment, options) as runtime:
        bench = _Bench(deployment, runtime, images, size)
        thresholds = choose_thresholds(bench.probe, bench.some(PROBED_IMAGES), settings)
        results = _run_all(bench, thresholds, progress)
        times, speed = _latencies(bench, thresholds, options)
        facts = {**machine_facts(), **runtime.facts}
        predictor, origin = _predictor(bench, options, speed, seconds)
    if predictor and speed:
        taken = [samples[index].route for index in bench.some(TIMED_IMAGES) for samples, _ in results]
        facts["prediction"] = str(check_prediction(predictor, speed, taken, times.ravel().tolist()))
        predictor = predictor.scaled(speed)
    facts["predicted by"] = origin
    measured = [BudgetCost.of(column.tolist()) for column in times.T]
    rows = [_row(*row, predictor) for row in zip(thresholds, results, measured, strict=True)]
    kept = _steady(rows, steady)
    if len(kept) < len(rows):
        facts["left out"] = f"{len(rows) - len(kept)} thresholds, as unsteady as above {steady:.1%}"
    return BudgetTable(deployment.info.checkpoint.sha256, len(images), bench.padded, facts, tuple(_falling(kept)))


@dataclass
class _Bench:
    """Runs one image at a time through the deployment; the input of the last image is cached.

    `size`: (height, width) of all images; `padded`: of the inputs.
    """

    deployment: Deployment
    runtime: Runtime
    images: ImageSet
    size: tuple[int, int]
    _last: tuple[int, NDArray[np.float32]] = (-1, np.empty(0, np.float32))

    @property
    def padded(self) -> tuple[int, int]:
        return self.deployment.preprocessing.padded_size(self.size)

    @property
    def classes(self) -> int:
        count = self.deployment.info.outputs[0].shape[1]
        assert isinstance(count, int)
        return count

    def input(self, index: int) -> NDArray[np.float32]:
        """Returns the input of an image, [1,C,H,W]."""
        if self._last[0] != index:
            steps = self.deployment.preprocessing
            self._last = index, steps.values(steps.geometry(self.images.load(index))[None])
        return self._last[1]

    def run(self, index: int, threshold: float) -> tuple[NDArray[np.int64], RouteSample]:
        """Returns the most probable class of every pixel, [H,W], and the image's route."""
        outputs = self.runtime.run(self.deployment.feeds(self.input(index), threshold))
        logits = outputs[self.deployment.info.outputs[0].name][0]
        (sample,) = route_samples(self.deployment, [self.images.names[index]], outputs[GATES_OUTPUT], self.padded)
        return self.deployment.preprocessing.unpadded(logits.argmax(0), self.size), sample

    def probe(self, index: int, threshold: float) -> tuple[NDArray[np.float32], float]:
        """Returns the image's gates, [paths], and the operations of its route."""
        sample = self.run(index, threshold)[1]
        return sample.gates, sample.operations.total

    def some(self, count: int) -> Sequence[int]:
        """Returns the indices of at most `count` images, evenly spaced."""
        return [int(i) for i in np.unique(np.linspace(0, len(self.images) - 1, count).round())]


def _checked_size(deployment: Deployment, images: ImageSet) -> tuple[int, int]:
    """Returns (height, width) of all images after resize and crop; reads all, and their label maps, before any runs."""
    sizes: dict[tuple[int, int], str] = {}
    for index in range(len(images)):
        height, width, _ = images.load(index).shape  # not `size`: a damaged image ends this before any runs
        size = deployment.preprocessing.geometry_size((height, width))
        sizes.setdefault(size, images.names[index])
        if len(sizes) > 1:
            raise UsageError(
                "a budget table is of one image size, since operations grow with the pixels",
                facts={name: f"{height} x {width}" for (height, width), name in sizes.items()},
                hint="calibrate on images of the size that will be served",
            )
        if images.maps is not None:
            label_map(images, index, size, 255)
    return next(iter(sizes))


def _run_all(
    bench: _Bench, thresholds: Sequence[float], progress: Progress | None
) -> list[tuple[list[RouteSample], ThresholdAgreement]]:
    """Runs every image at every threshold; the first threshold is 0."""
    results: list[tuple[list[RouteSample], ThresholdAgreement]] = [
        ([], ThresholdAgreement(bench.classes)) for _ in thresholds
    ]
    for index in range(len(bench.images)):
        labels = None if bench.images.maps is None else label_map(bench.images, index, bench.size, bench.classes)
        full = bench.run(index, thresholds[0])
        for threshold, (samples, agreement) in zip(thresholds, results, strict=True):
            classes, sample = bench.run(index, threshold) if threshold else full
            samples.append(sample)
            agreement.add(classes, full[0], labels)
        if progress:
            progress(index + 1, len(bench.images))
    return results


def _latencies(
    bench: _Bench, thresholds: Sequence[float], options: RuntimeOptions
) -> tuple[NDArray[np.float64], Speed | None]:
    """Measures some images at each threshold, in runs that take turns.

    Returns:
        Median milliseconds, [images, thresholds], and the speed of the machine meanwhile, or None where no route can be
        forced.
    """
    medians, speeds = [], []
    with (
        ForcedRuntime(bench.deployment, options)
        if _takes_forced_routes(bench.deployment, options)
        else nullcontext() as forced
    ):
        references = [reference_run(forced, bench.padded)] * TIMED_REFERENCES if forced else []
        for index in bench.some(TIMED_IMAGES):
            feeds = [bench.deployment.feeds(bench.input(index), threshold) for threshold in thresholds]
            calls = [functools.partial(bench.runtime.run, fed) for fed in feeds]
            times, beside = times_in_turns([calls, references], 0.0, TIMED_ROUNDS)
            medians.append(np.median(times, axis=0))
            speeds.append(beside)
    return np.array(medians), speed_of(np.concatenate(speeds)) if references else None


def _takes_forced_routes(deployment: Deployment, options: RuntimeOptions) -> bool:
    """Whether routes can be forced on the deployment, so that any of them can be measured."""
    return options.runtime == RuntimeName.onnxruntime and options.version is None and bool(deployment.info.operators)


def _predictor(
    bench: _Bench, options: RuntimeOptions, now: Speed | None, seconds: float
) -> tuple[LatencyTable | None, str]:
    """Returns the latency table that predicts every image without a run, as measured, and its origin."""
    if now is None:
        return None, "nothing"
    deployment = bench.deployment
    stored, unfit = stored_latency_table(deployment, bench.padded, bench.runtime.facts, now)
    if stored is not None:
        return stored, "the table that adroit profile stored"
    rejected = f"; what adroit profile stored is {unfit}" if deployment.info.latency is not None else ""
    table = measure_latency_table(deployment, options, bench.input(0), seconds)
    return table, f"a table measured with this one{rejected}"


def _row(
    threshold: float,
    result: tuple[list[RouteSample], ThresholdAgreement],
    milliseconds: BudgetCost,
    predictor: LatencyTable | None,
) -> Setting:
    samples, agreement = result
    return Setting(
        threshold,
        gigaflops=BudgetCost.of([s.operations.total / 1e9 for s in samples]),
        paper_gigaflops=BudgetCost.of([s.paper.total / 1e9 for s in samples]),
        milliseconds=milliseconds,
        agreement=agreement.agreement,
        routes=len({s.route for s in samples}),
        predicted_milliseconds=BudgetCost.of([predictor.predict(s.route) for s in samples]) if predictor else None,
        accuracy=agreement.accuracy,
        instability=instability([s.operations.total for s in samples]),
        gates=gate_counts(np.stack([s.gates for s in samples])).tolist(),
    )


def _steady(rows: Sequence[Setting], steady: float) -> list[Setting]:
    """Leaves out the rows between the first and the last that are known to be less stable."""
    return [row for row in rows if row in (rows[0], rows[-1]) or (row.instability or 0.0) <= steady]


def _falling(rows: Sequence[Setting]) -> list[Setting]:
    """Leaves out rows that cost no less than one before: a path that closes may open another further on."""
    kept: list[Setting] = []
    for row in rows:
        if not kept or row.gigaflops.mean < kept[-1].gigaflops.mean:
            kept.append(row)
    return kept
