"""What values the tensors of a network take on calibration images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import onnx

from deploy.entry import Entry
from deploy.quantize.choices import Method
from deploy.quantize.grid import Grid
from deploy.quantize.histogram import Histogram
from deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from deploy.runtimes.open import RuntimeOptions
from models.data.images import ImageSet

BATCH = 8

Progress = Callable[[int, int], None]


def calibrate(
    entry: Entry,
    model: onnx.ModelProto,
    tensors: Collection[str],
    images: ImageSet,
    options: RuntimeOptions,
    progress: Progress | None = None,
) -> dict[str, Histogram]:
    """Runs `images` through `model` (the entry's) and counts the values of `tensors`, by name.

    Raises:
        UsageError: an unreadable image. UnsupportedModel: values that are not finite.
        EnvironmentFault: as OnnxRuntime.
    """
    histograms = {name: Histogram() for name in tensors}
    shown = with_outputs(model, tensors)
    with OnnxRuntime(shown, options, bool(entry.info.operators)) as runtime:
        for where, x in images.batches(entry.info.preprocessing, BATCH):
            values = {entry.info.inputs[0].name: x, **runtime.run(entry.feeds(x))}
            for name, histogram in histograms.items():
                histogram.add(values[name], name)
            if progress:
                progress(where.stop, len(images))
    return histograms


def grids_of(histograms: Mapping[str, Histogram], method: Method, share: float) -> dict[str, Grid]:
    """The grid of each tensor; `share` is the percentile's, in percent."""
    if method == Method.mse:
        return {name: histogram.least_error() for name, histogram in histograms.items()}
    return {name: histogram.percentile(share) for name, histogram in histograms.items()}


def with_outputs(model: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
    """A copy that also gives out `tensors` (those of its inputs and outputs are there already)."""
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    present = {value.name for value in (*model.graph.input, *model.graph.output)}
    wider.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(set(tensors) - present))
    return wider
