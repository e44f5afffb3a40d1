"""What each layer costs: the network with that layer alone in 8 bits, against the float network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.quantize.calibrate import BATCH, Progress
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import ImageSet


@dataclass(frozen=True)
class Cost:
    """Logits of a quantized network against those of the float one.

    Attributes:
        error: root mean square of their difference, as a share of the float logits' standard deviation.
        argmax_equal: share of the images of the same class, 0 to 1.
        top1: accuracy of the quantized and the float network where labels are given, else None.
    """

    error: float
    argmax_equal: float
    top1: tuple[float, float] | None


def logits_of(
    deployment: Deployment, model: onnx.ModelProto, images: ImageSet, options: RuntimeOptions
) -> NDArray[np.float32]:
    """[N,classes] of all images."""
    name = deployment.info.outputs[0].name
    with OnnxRuntime(model, options, custom=True) as runtime:
        batches = images.batches(deployment.info.preprocessing, BATCH)
        return np.concatenate([runtime.run(deployment.feeds(x))[name] for _, x in batches])


def cost_of(quantized: NDArray[Any], exact: NDArray[Any], labels: NDArray[np.int64] | None) -> Cost:
    """Of two networks' logits, [N,classes] each."""
    spread = float(exact.std()) or 1.0
    ours, theirs = quantized.argmax(1), exact.argmax(1)
    top1 = None if labels is None else (float((ours == labels).mean()), float((theirs == labels).mean()))
    error = float(np.sqrt(np.mean((quantized.astype(np.float64) - exact) ** 2)))
    return Cost(error / spread, float((ours == theirs).mean()), top1)


def layer_costs(
    deployment: Deployment,
    exact: NDArray[np.float32],
    layers: Sequence[str],
    alone: Callable[[str], onnx.ModelProto],
    images: ImageSet,
    options: RuntimeOptions,
    progress: Progress | None = None,
) -> dict[str, Cost]:
    """By layer.

    Args:
        exact: the float network's logits of `images`.
        layers: node names. alone: makes the network of which only that layer is quantized.
    """
    costs = {}
    for number, name in enumerate(layers, start=1):
        costs[name] = cost_of(logits_of(deployment, alone(name), images, options), exact, images.labels)
        if progress:
            progress(number, len(layers))
    return costs
