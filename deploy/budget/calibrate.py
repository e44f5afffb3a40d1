"""Measuring a budget table: thresholds that spread over the costs within reach, each run on every image.

    table = calibrate(Entry.read(path), read_images("images"), RuntimeOptions(threads=1))

Images run one at a time, since a batch computes every path that any of its samples needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.budget.answers import Answers
from deploy.budget.drift import gate_counts
from deploy.budget.steadiness import STEADY, unsteadiness
from deploy.budget.table import BudgetTable, Cost, Setting, check_form
from deploy.budget.thresholds import PROBED_IMAGES, choose_thresholds
from deploy.entry import GATES, Entry
from deploy.parity.labels import label_map
from deploy.profile.latency_table import LatencyTable, measure_latency_table, stored_latency_table
from deploy.profile.timing import machine_facts, medians_in_turns
from deploy.routes.collect import RouteSample, route_samples
from deploy.runtimes.base import Runtime
from deploy.runtimes.choices import RuntimeName
from deploy.runtimes.open import RuntimeOptions, open_runtime
from models.data.images import ImageSet
from models.errors import UsageError

Progress = Callable[[int, int], None]
SETTINGS = 17
# Latency: images that are measured, each as often at every threshold.
TIMED_IMAGES, TIMED_ROUNDS = 12, 5
PREDICTOR_SECONDS = 8.0


def calibrate(
    entry: Entry,
    images: ImageSet,
    options: RuntimeOptions,
    settings: int = SETTINGS,
    progress: Progress | None = None,
    steady: float = STEADY,
) -> BudgetTable:
    """Runs every image at every threshold; writes nothing.

    Args:
        entry: a routed deployment in the `if` form.
        images: of one size. With label maps the table has an accuracy.
        settings: how many thresholds at most, the first 0 and the last 1. Costs that none has are left
            out, and thresholds whose mean operations are not below those before.
        progress: called with images done and images in all.
        steady: thresholds between 0 and 1 that are unsteadier (deploy/budget/steadiness.py) are left out.

    Raises:
        UsageError: no gates, another form, images of several sizes, or labels that do not fit.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    check_form(entry)
    size = _checked_size(entry, images)
    with open_runtime(entry, options) as runtime:
        bench = _Bench(entry, runtime, images, size)
        thresholds = choose_thresholds(bench.probe, bench.some(PROBED_IMAGES), settings)
        found = _run_all(bench, thresholds, progress)
        times = _latencies(bench, thresholds)
        predictor, source = _predictor(entry, options, runtime.facts, bench.input(0))
        facts = {**machine_facts(), **runtime.facts, "predicted by": source}
    rows = [_row(*row, predictor) for row in zip(thresholds, found, times, strict=True)]
    kept = _steady(rows, steady)
    if len(kept) < len(rows):
        facts["left out"] = f"{len(rows) - len(kept)} thresholds, as unsteady as above {steady:.1%}"
    return BudgetTable(entry.info.checkpoint["sha256"], len(images), bench.padded, facts, _falling(kept))


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

    def probe(self, index: int, threshold: float) -> tuple[NDArray[np.float32], float]:
        """The image's gates, [paths], and the operations of its route."""
        sample = self.run(index, threshold)[1]
        return sample.gates, sample.operations.total

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
        full = bench.run(index, thresholds[0])
        for threshold, (samples, answers) in zip(thresholds, found, strict=True):
            classes, sample = bench.run(index, threshold) if threshold else full
            samples.append(sample)
            answers.add(classes, full[0], labels)
        if progress:
            progress(index + 1, len(bench.images))
    return found


def _latencies(bench: _Bench, thresholds: Sequence[float]) -> list[Cost]:
    """Milliseconds at each threshold: per image the median of several runs that take turns."""
    medians = []
    for index in bench.some(TIMED_IMAGES):
        feeds = [bench.entry.feeds(bench.input(index), threshold) for threshold in thresholds]
        calls = [functools.partial(bench.runtime.run, fed) for fed in feeds]
        medians.append(medians_in_turns(calls, 0.0, TIMED_ROUNDS))
    return [Cost.of(column.tolist()) for column in np.array(medians).T]


def _predictor(
    entry: Entry, options: RuntimeOptions, runtime: Mapping[str, Any], x: NDArray[np.float32]
) -> tuple[LatencyTable | None, str]:
    """What tells every image's latency without a run, and where it is from.

    None for a deployment whose gates cannot be told what to say. `runtime`: the facts of the one that runs.
    """
    if options.runtime != RuntimeName.onnxruntime or options.version is not None or not entry.info.operators:
        return None, "nothing"
    stored = stored_latency_table(entry, (x.shape[2], x.shape[3]), runtime)
    if stored is not None:
        return stored, "the table that adroit profile stored"
    unfit = "; what adroit profile stored is of another machine, speed, runtime, model or size"
    told = "a table measured with this one" + (unfit if entry.info.latency is not None else "")
    return measure_latency_table(entry, options, x, PREDICTOR_SECONDS), told


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
        unsteadiness=unsteadiness([s.operations.total for s in samples]),
        gates=gate_counts(np.stack([s.gates for s in samples])).tolist(),
    )


def _steady(rows: Sequence[Setting], steady: float) -> list[Setting]:
    """Without those between the first and the last that are known to be unsteadier."""
    return [row for row in rows if row in (rows[0], rows[-1]) or (row.unsteadiness or 0.0) <= steady]


def _falling(rows: Sequence[Setting]) -> list[Setting]:
    """Without those that cost no less than one before: a path that closes may open another further on."""
    kept: list[Setting] = []
    for row in rows:
        if not kept or row.gigaflops.mean < kept[-1].gigaflops.mean:
            kept.append(row)
    return kept
