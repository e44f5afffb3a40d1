"""What each layer costs: the network with that layer alone in 8 bits, against the float network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.records import QuantizationCost
from adroit.deploy.quantize.calibrate import BATCH, Progress
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import ImageSet


def logits_of(
    deployment: Deployment, model: onnx.ModelProto, images: ImageSet, options: RuntimeOptions
) -> NDArray[np.float32]:
    """Runs all images through `model`, and returns their logits, [N,classes]."""
    name = deployment.info.outputs[0].name
    with OnnxRuntime(model, options, custom=True) as runtime:
        batches = images.batches(deployment.preprocessing, BATCH)
        return np.concatenate([runtime.run(deployment.feeds(x))[name] for _, x in batches])


def cost_of(quantized: NDArray[Any], exact: NDArray[Any], labels: NDArray[np.int64] | None) -> QuantizationCost:
    """Compares the logits of two networks, [N,classes] each."""
    spread = float(exact.std()) or 1.0
    ours, theirs = quantized.argmax(1), exact.argmax(1)
    top1 = None if labels is None else (float((ours == labels).mean()), float((theirs == labels).mean()))
    error = float(np.sqrt(np.mean((quantized.astype(np.float64) - exact) ** 2)))
    return QuantizationCost(error / spread, float((ours == theirs).mean()), top1)


def layer_costs(
    deployment: Deployment,
    exact: NDArray[np.float32],
    layers: Sequence[str],
    alone: Callable[[str], onnx.ModelProto],
    images: ImageSet,
    options: RuntimeOptions,
    progress: Progress | None = None,
) -> dict[str, QuantizationCost]:
    """Measures the cost of each layer alone in 8 bits, by layer.

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
