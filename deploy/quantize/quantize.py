"""`adroit quantize`: a deployment in 8 bits from one in float32 and images, without training.

Adder layers are quantized; the first and the last convolution stay float32. In int8, by ONNX Runtime's own
quantizer, they would cost accuracy and save no time here: the official ResNet-20's first convolution lowers
the share of equal classes from 99.63 % to 99.44 %, both to 98.81 % (9,000 shifted and mirrored test images),
and it runs in 0.296 instead of 0.275 ms (one thread, AVX-512).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.records import QuantizationCost, QuantizationRecord, QuantizationSource, QuantizedLayer
from adroit.deploy.export.graph import finish
from adroit.deploy.operators.grid import Grid
from adroit.deploy.passes.graph import constant
from adroit.deploy.quantize.bias import measure_bias
from adroit.deploy.quantize.calibrate import Progress, calibrate, grids_of
from adroit.deploy.quantize.choices import Method
from adroit.deploy.quantize.graph import activations, adders, byte_tensors, quantize_adders
from adroit.deploy.quantize.sensitivity import cost_of, layer_costs, logits_of
from adroit.deploy.quantize.store import check_target, store
from adroit.deploy.quantize.weights import QuantizedWeights, quantize_weights
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UnsupportedModel, UsageError
from adroit.models.data.images import ImageSet
from adroit.models.operators.quantized_adder_conv2d import MAX_TAPS

# Of the calibration images, for the cost of each layer: a network runs once for every layer.
SENSITIVITY_IMAGES = 128


@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantize.

    Attributes:
        method: how a tensor's range follows from its values.
        percentile: of the method of that name, in percent: values outside saturate.
        bias_correction: see deploy/quantize/bias.py.
        keep_float: names of adder nodes to leave in float32.
        sensitivity: also measure what each layer costs.
        operators, threads: of the runs over the images, as RuntimeOptions.
        replace: whether builds, tables and files of an old deployment in that place may be deleted.
    """

    method: Method = Method.mse
    percentile: float = 99.99
    bias_correction: bool = True
    keep_float: tuple[str, ...] = ()
    sensitivity: bool = False
    operators: OperatorForm = OperatorForm.native
    threads: int | None = None
    replace: bool = False


@dataclass(frozen=True)
class Quantized:
    """The result of `adroit quantize`.

    Attributes:
        deployment: the new deployment.
        cost: of the whole, on the calibration images.
        layers: what each layer costs alone, where it was measured.
    """

    deployment: Deployment
    cost: QuantizationCost
    layers: Mapping[str, QuantizationCost]


def quantize_deployment(
    deployment: Deployment,
    images: ImageSet,
    data: str,
    repository: Path,
    name: str | None = None,
    options: QuantizeOptions | None = None,
    progress: Callable[[str], Progress] | None = None,
) -> Quantized:
    """Writes `deployment` in 8 bits to `repository`/`name`, whole or not at all.

    Args:
        images: for calibration; hundreds, like those that will come. data: what adroit.json calls them.
        name: the deployment's with "-8bit" if None.
        progress: makes a counter for each long step.

    Raises:
        UsageError: a quantized deployment, a layer that is none, an output that cannot be written.
        UnsupportedModel: no adder layers, or standard operators only; values that are not finite.
        EnvironmentFault: ONNX Runtime or the native operators are not there.
    """
    options = options or QuantizeOptions()
    model = _float_model(deployment)
    chosen = _chosen_layers(model, options.keep_float)
    folder = check_target(deployment, repository, name or f"{deployment.info.name}-8bit", options.replace)
    run = RuntimeOptions(operators=options.operators, threads=options.threads)
    counter: Callable[[str], Progress | None] = progress or (lambda what: None)

    tensors = byte_tensors(ir.from_proto(model).graph, chosen)
    histograms = calibrate(deployment, model, tensors, images, run, counter("calibrating"))
    grids = grids_of(histograms, options.method, options.percentile)
    layers = _quantized_layers(model, chosen, grids)
    if options.bias_correction:
        bias = measure_bias(deployment, model, grids, layers, images, run, counter("correcting"))
        layers = {node: weights.moved(bias[node]) for node, weights in layers.items()}

    quantized = quantize_model(model, grids, layers)
    exact = logits_of(deployment, model, images, run)
    cost = cost_of(logits_of(deployment, quantized, images, run), exact, images.labels)
    costs: dict[str, QuantizationCost] = {}
    if options.sensitivity:
        few = images.first(SENSITIVITY_IMAGES)

        def alone(layer: str) -> onnx.ModelProto:
            return quantize_model(model, grids, {layer: layers[layer]})

        costs = layer_costs(deployment, exact[: len(few)], list(layers), alone, few, run, counter("layers"))
    record = _record(deployment, data, len(images), options, grids, layers, cost, costs)
    return Quantized(store(deployment, quantized, folder, record, options.replace), cost, costs)


def quantize_model(
    model: onnx.ModelProto, grids: Mapping[str, Grid], layers: Mapping[str, QuantizedWeights]
) -> onnx.ModelProto:
    """A copy of `model` whose adder nodes in `layers` are quantized; `grids` as quantize_adders."""
    copy = ir.from_proto(model)
    quantize_adders(copy.graph, grids, layers)
    copy.functions.clear()  # the bodies that are needed now are put back
    return finish(copy)


def _float_model(deployment: Deployment) -> onnx.ModelProto:
    info = deployment.info
    if info.quantization is not None:
        raise UsageError(
            f"{deployment.path} is in 8 bits already",
            hint=f"quantize the deployment that it was made from, {info.quantization.source.name}",
        )
    if info.form == "portable":
        raise UnsupportedModel(
            f"{deployment.path} holds standard operators only: its adder layers cannot be found in it",
            hint="export it without --portable, and quantize that",
        )
    return deployment.load_model()


def _chosen_layers(model: onnx.ModelProto, keep_float: Collection[str]) -> list[str]:
    """Names of the nodes to quantize."""
    nodes = adders(ir.from_proto(model).graph)
    names = [str(node.name) for node in nodes]
    if not names:
        found = sorted({node.op_type for node in model.graph.node})
        raise UnsupportedModel(
            "this network has no adder convolutions, which are what adroit quantizes",
            facts={"operators": ", ".join(found)},
            hint="ONNX Runtime's own tools quantize ordinary convolutions: onnxruntime.quantization.quantize_static",
        )
    for layer in keep_float:
        if layer not in names:
            near = difflib.get_close_matches(layer, names, n=1, cutoff=0.0)[0]
            raise UsageError(
                f"there is no adder layer named {layer!r} to keep in float32",
                facts={"layers": ", ".join(names)},
                hint=f"did you mean {near}?",
            )
    chosen = [name for name in names if name not in keep_float]
    if not chosen:
        raise UsageError("every adder layer is to be kept in float32: nothing is left to quantize")
    for node in nodes:
        weight = constant(node.inputs[1])
        if node.name in chosen and (weight is None or weight[0].size > MAX_TAPS):
            raise UnsupportedModel(
                f"layer {node.name} has weights that are computed, or more than {MAX_TAPS} taps a filter",
                hint=f"leave it as it is: --keep-float {node.name}",
            )
    return chosen


def _quantized_layers(
    model: onnx.ModelProto, chosen: Collection[str], grids: Mapping[str, Grid]
) -> dict[str, QuantizedWeights]:
    layers = {}
    for node in adders(ir.from_proto(model).graph):
        if node.name in chosen:
            weight, scale, shift = (np.asarray(constant(value), np.float32) for value in node.inputs[1:4])
            grid = grids[str(activations(node)[0].name)]
            layers[str(node.name)] = quantize_weights(weight, scale, shift, grid)
    return layers


def _record(
    deployment: Deployment,
    data: str,
    images: int,
    options: QuantizeOptions,
    grids: Mapping[str, Grid],
    layers: Mapping[str, QuantizedWeights],
    cost: QuantizationCost,
    costs: Mapping[str, QuantizationCost],
) -> QuantizationRecord:
    """The record for adroit.json."""
    return QuantizationRecord(
        source=QuantizationSource(deployment.info.name, deployment.info.model.sha256),
        data=data,
        images=images,
        method=options.method.value,
        percentile=options.percentile if options.method == Method.percentile else None,
        bias_correction=options.bias_correction,
        keep_float=options.keep_float,
        on_these_images=cost,
        tensors=dict(grids),
        layers={name: QuantizedLayer(weights.clamped, costs.get(name)) for name, weights in layers.items()},
    )
