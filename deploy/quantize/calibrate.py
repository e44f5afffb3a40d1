"""What values the tensors of a network take on calibration images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import onnx

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.operators.grid import Grid
from adroit.deploy.passes.graph import with_outputs
from adroit.deploy.quantize.choices import Method
from adroit.deploy.quantize.histogram import Histogram
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import ImageSet

BATCH = 8

Progress = Callable[[int, int], None]


def calibrate(
    deployment: Deployment,
    model: onnx.ModelProto,
    tensors: Collection[str],
    images: ImageSet,
    options: RuntimeOptions,
    progress: Progress | None = None,
) -> dict[str, Histogram]:
    """Runs `images` through `model` (the deployment's) and counts the values of `tensors`, by name.

    Raises:
        UsageError: an unreadable image. UnsupportedModel: values that are not finite.
        EnvironmentFault: as OnnxRuntime.
    """
    histograms = {name: Histogram() for name in tensors}
    shown = with_outputs(model, tensors)
    with OnnxRuntime(shown, options, bool(deployment.info.operators)) as runtime:
        for where, x in images.batches(deployment.preprocessing, BATCH):
            values = {deployment.info.inputs[0].name: x, **runtime.run(deployment.feeds(x))}
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
