"""Measuring a budget table: thresholds that spread over the costs within reach, each run on every image.

    table = calibrate(Entry.read(path), read_images("images"), RuntimeOptions(threads=1))

Images run one at a time, since a batch computes every path that any of its samples needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.budget.answers import Answers
from deploy.budget.drift import gate_counts
from deploy.budget.table import BudgetTable, Cost, Setting, check_form
from deploy.entry import GATES, Entry
from deploy.parity.check import label_map
from deploy.profile.latency_table import LatencyTable, measure_latency_table
from deploy.profile.timing import machine_facts, medians_in_turns
from deploy.routes.collect import RouteSample, route_samples
from deploy.runtimes.base import Runtime
from deploy.runtimes.choices import RuntimeName
from deploy.runtimes.open import RuntimeOptions, open_runtime
from models.data.images import ImageSet
from models.errors import UsageError

Progress = Callable[[int, int], None]
# tanh stays below 1, so that nothing is above this threshold: stem, gates and head alone.
ALL_CLOSED = 1.0
SETTINGS = 17
# What is tried out to choose the thresholds from: so many of them, on so many images.
CANDIDATES, PROBED_IMAGES = 80, 20
# A threshold is not offered where the images' costs deviate so many times as much as at the median candidate.
UNSTEADY = 2.0
# Gates nearer than this are taken for one: rounding may exchange them.
ROUNDING = 1e-5
# Latency: images that are measured, each as often at every threshold.
TIMED_IMAGES, TIMED_ROUNDS = 12, 5
PREDICTOR_SECONDS = 8.0


def calibrate(
    entry: Entry,
    images: ImageSet,
    options: RuntimeOptions,
    settings: int = SETTINGS,
    progress: Progress | None = None,
) -> BudgetTable:
    """Runs every image at every threshold; writes nothing.

    Args:
        entry: a routed deployment in the `if` form.
        images: of one size. With label maps the table has an accuracy.
        settings: how many thresholds at most, the first 0 and the last 1. Costs that none has are left
            out, and thresholds whose mean operations are not below those before.
        progress: called with images done and images in all.

    Raises:
        UsageError: no gates, another form, images of several sizes, or labels that do not fit.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    check_form(entry)
    size = _checked_size(entry, images)
    with open_runtime(entry, options) as runtime:
        bench = _Bench(entry, runtime, images, size)
        thresholds = _spread(bench, settings)
        found = _run_all(bench, thresholds, progress)
        times = _latencies(bench, thresholds)
        predictor = _predictor(entry, options, bench.input(0))
        facts = {**machine_facts(), **runtime.facts}
    rows = [_row(*row, predictor) for row in zip(thresholds, found, times, strict=True)]
    return BudgetTable(entry.info.checkpoint["sha256"], len(images), bench.padded, facts, _falling(rows))


@dataclass
class _Bench:
    """One image at a time through the deployment; an input is kept while the same image is asked for.

    `size`: (height, width) of all images; `padded`: of the inputs.
    """

    entry: Entry
    runtime: Runtime
    images: ImageSet
    size: tuple[int, int]
    _kept: tuple[int, NDArray[np.float32]] = (-1, np.empty(0, np.float32))

    @property
    def padded(self) -> tuple[int, int]:
        return self.entry.info.preprocessing.padded_size(self.size)

    @property
    def classes(self) -> int:
        count = self.entry.info.outputs[0].shape[1]
        assert isinstance(count, int)
        return count

    def input(self, index: int) -> NDArray[np.float32]:
        """[1,C,H,W]."""
        if self._kept[0] != index:
            steps = self.entry.info.preprocessing
            self._kept = index, steps.values(steps.geometry(self.images.load(index))[None])
        return self._kept[1]

    def run(self, index: int, threshold: float) -> tuple[NDArray[np.int64], RouteSample]:
        """The pixels' likeliest classes, [H,W], and the image's route."""
        outputs = self.runtime.run(self.entry.feeds(self.input(index), threshold))
        logits = outputs[self.entry.info.outputs[0].name][0]
        (sample,) = route_samples(self.entry, [self.images.names[index]], outputs[GATES], self.padded)
        return self.entry.info.preprocessing.unpadded(logits.argmax(0), self.size), sample

    def some(self, count: int) -> Sequence[int]:
        """At most `count` images, evenly spaced."""
        return [int(i) for i in np.unique(np.linspace(0, len(self.images) - 1, count).round())]


def _checked_size(entry: Entry, images: ImageSet) -> tuple[int, int]:
    """(height, width) of all images after resize and crop. All are read, with their label maps, before any runs."""
    found: dict[tuple[int, int], str] = {}
    for index in range(len(images)):
        shape = entry.info.preprocessing.geometry(images.load(index)).shape
        found.setdefault((shape[0], shape[1]), images.names[index])
        if len(found) > 1:
            raise UsageError(
                "a budget table is of one image size, since operations grow with the pixels",
                facts={name: f"{height} x {width}" for (height, width), name in found.items()},
                hint="calibrate on images of the size that will be served",
            )
        if images.maps is not None:
            label_map(images, index, (shape[0], shape[1]), 255)
    return next(iter(found))


def _run_all(
    bench: _Bench, thresholds: Sequence[float], progress: Progress | None
) -> list[tuple[list[RouteSample], Answers]]:
    """Every image at every threshold, the first of which is 0."""
    found: list[tuple[list[RouteSample], Answers]] = [([], Answers(bench.classes)) for _ in thresholds]
    for index in range(len(bench.images)):
        labels = None if bench.images.maps is None else label_map(bench.images, index, bench.size, bench.classes)
        full, _ = bench.run(index, 0.0)
        for threshold, (samples, answers) in zip(thresholds, found, strict=True):
            classes, sample = bench.run(index, threshold)
            samples.append(sample)
            answers.add(classes, full, labels)
        if progress:
            progress(index + 1, len(bench.images))
    return found


def _spread(bench: _Bench, settings: int) -> list[float]:
    """Thresholds from 0 to 1 whose mean operations are about evenly spaced, on some of the images.

    Candidates are taken from between the values of the gates that are open at threshold 0, the same number
    of gates from one to the next: halfway between two gates, so that rounding does not close another one.
    Of those that cost about the same, the one that costs the images most alike is taken, and none where costs
    are far more unlike than usual: there a threshold cuts through the values of a gate that decides much, and
    other images may fall to the other side.
    """
    some = bench.some(PROBED_IMAGES)
    gates = np.unique(np.concatenate([bench.run(index, 0.0)[1].gates for index in some]))
    between = ((gates[1:] + gates[:-1]) / 2)[np.diff(gates) > ROUNDING]
    places = np.unique(np.linspace(0, max(len(between) - 1, 0), CANDIDATES).round().astype(int))
    candidates = [0.0, *map(float, between[places[: len(between)]]), ALL_CLOSED]
    costs = np.array([[bench.run(i, threshold)[1].operations.total for threshold in candidates] for i in some])
    means, spreads = costs.mean(0), costs.std(0) / costs.mean(0)
    wanted, step = np.linspace(means[0], means[-1], settings, retstep=True)
    chosen = {0, len(candidates) - 1}
    for cost in wanted[1:-1]:
        (near,) = np.nonzero((np.abs(means - cost) <= abs(step) / 2) & (spreads <= UNSTEADY * np.median(spreads)))
        if len(near):
            chosen.add(int(near[spreads[near].argmin()]))
    return [candidates[i] for i in sorted(chosen)]


def _latencies(bench: _Bench, thresholds: Sequence[float]) -> list[Cost]:
    """Milliseconds at each threshold: per image the median of several runs that take turns."""
    medians = []
    for index in bench.some(TIMED_IMAGES):
        feeds = [bench.entry.feeds(bench.input(index), threshold) for threshold in thresholds]
        calls = [functools.partial(bench.runtime.run, fed) for fed in feeds]
        medians.append(medians_in_turns(calls, 0.0, TIMED_ROUNDS))
    return [Cost.of(column.tolist()) for column in np.array(medians).T]


def _predictor(entry: Entry, options: RuntimeOptions, x: NDArray[np.float32]) -> LatencyTable | None:
    """Of a deployment whose gates can be told what to say; its latency on every image then needs no run."""
    tellable = options.runtime == RuntimeName.onnxruntime and options.version is None and entry.info.operators
    return measure_latency_table(entry, options, x, PREDICTOR_SECONDS) if tellable else None


def _row(
    threshold: float, found: tuple[list[RouteSample], Answers], milliseconds: Cost, predictor: LatencyTable | None
) -> Setting:
    samples, answers = found
    return Setting(
        threshold,
        gigaflops=Cost.of([s.operations.total / 1e9 for s in samples]),
        paper_gigaflops=Cost.of([s.paper.total / 1e9 for s in samples]),
        milliseconds=milliseconds,
        agreement=answers.agreement,
        routes=len({s.route for s in samples}),
        predicted_milliseconds=Cost.of([predictor.predict(s.route) for s in samples]) if predictor else None,
        accuracy=answers.accuracy,
        gates=gate_counts(np.stack([s.gates for s in samples])).tolist(),
    )


def _falling(rows: Sequence[Setting]) -> list[Setting]:
    """Without those that cost no less than one before: a path that closes may open another further on."""
    kept: list[Setting] = []
    for row in rows:
        if not kept or row.gigaflops.mean < kept[-1].gigaflops.mean:
            kept.append(row)
    return kept
