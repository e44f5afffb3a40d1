"""`adroit quantize`: a deployment in 8 bits from one in float32 and images, without training.

Adder layers are quantised; the first and the last convolution stay float32. In int8, by ONNX Runtime's own
quantiser, they would cost accuracy and save no time here: the official ResNet-20's first convolution lowers
the share of equal classes from 99.63 % to 99.44 %, both to 98.81 % (9,000 shifted and mirrored test images),
and it runs in 0.296 instead of 0.275 ms (one thread, AVX-512).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from deploy.entry import Entry
from deploy.export.graph import finish
from deploy.passes.graph import constant
from deploy.quantize.bias import measure_bias
from deploy.quantize.calibrate import Progress, calibrate, grids_of
from deploy.quantize.choices import Method
from deploy.quantize.graph import activations, adders, byte_tensors, quantise_adders
from deploy.quantize.grid import Grid
from deploy.quantize.sensitivity import Cost, cost_of, layer_costs, logits_of
from deploy.quantize.store import check_place, store
from deploy.quantize.weights import QuantisedWeights, quantise_weights
from deploy.runtimes.choices import OperatorForm
from deploy.runtimes.open import RuntimeOptions
from models.data.images import ImageSet
from models.errors import UnsupportedModel, UsageError
from models.operators.quantised_adder_conv2d import MAX_TAPS

# Of the calibration images, for the cost of each layer: a network runs once for every layer.
SENSITIVITY_IMAGES = 128


@dataclass(frozen=True)
class QuantiseOptions:
    """How to quantise.

    Attributes:
        method: how a tensor's range follows from its values.
        percentile: of the method of that name, in percent: values outside saturate.
        bias_correction: see deploy/quantize/bias.py.
        keep_float: names of adder nodes to leave in float32.
        sensitivity: also measure what each layer costs.
        operators, threads: of the runs over the images, as RuntimeOptions.
    """

    method: Method = Method.mse
    percentile: float = 99.99
    bias_correction: bool = True
    keep_float: tuple[str, ...] = ()
    sensitivity: bool = False
    operators: OperatorForm = OperatorForm.native
    threads: int | None = None


@dataclass(frozen=True)
class Quantised:
    """What came of it.

    Attributes:
        entry: the new deployment.
        cost: of the whole, on the calibration images.
        layers: what each layer costs alone, where asked for.
    """

    entry: Entry
    cost: Cost
    layers: Mapping[str, Cost]


def quantise_entry(
    entry: Entry,
    images: ImageSet,
    data: str,
    repository: Path,
    name: str | None = None,
    options: QuantiseOptions | None = None,
    progress: Callable[[str], Progress] | None = None,
) -> Quantised:
    """Writes `entry` in 8 bits to `repository`/`name`, whole or not at all.

    Args:
        images: for calibration; hundreds, like those that will come. data: what adroit.json calls them.
        name: the entry's with "-8bit" if None.
        progress: makes a counter for each long step.

    Raises:
        UsageError: a quantised entry, a layer that is none, an output that cannot be written.
        UnsupportedModel: no adder layers, or standard operators only; values that are not finite.
        EnvironmentFault: ONNX Runtime or the native operators are not there.
    """
    options = options or QuantiseOptions()
    model = _float_model(entry)
    chosen = _chosen_layers(model, options.keep_float)
    folder = check_place(entry, repository, name or f"{entry.info.name}-8bit")
    run = RuntimeOptions(operators=options.operators, threads=options.threads)
    counter: Callable[[str], Progress | None] = progress or (lambda what: None)

    tensors = byte_tensors(ir.from_proto(model).graph, chosen)
    histograms = calibrate(entry, model, tensors, images, run, counter("calibrating"))
    grids = grids_of(histograms, options.method, options.percentile)
    layers = _quantised_layers(model, chosen, grids)
    if options.bias_correction:
        bias = measure_bias(entry, model, grids, layers, images, run, counter("correcting"))
        layers = {node: weights.moved(bias[node]) for node, weights in layers.items()}

    quantised = quantise_model(model, grids, layers)
    exact = logits_of(entry, model, images, run)
    cost = cost_of(logits_of(entry, quantised, images, run), exact, images.labels)
    costs: dict[str, Cost] = {}
    if options.sensitivity:
        few = images.first(SENSITIVITY_IMAGES)

        def alone(layer: str) -> onnx.ModelProto:
            return quantise_model(model, grids, {layer: layers[layer]})

        costs = layer_costs(entry, exact[: len(few)], list(layers), alone, few, run, counter("layers"))
    told = _record(entry, data, len(images), options, grids, layers, cost, costs)
    return Quantised(store(entry, quantised, folder, told), cost, costs)


def quantise_model(
    model: onnx.ModelProto, grids: Mapping[str, Grid], layers: Mapping[str, QuantisedWeights]
) -> onnx.ModelProto:
    """A copy of `model` whose adder nodes in `layers` are quantised; `grids` as quantise_adders."""
    copy = ir.from_proto(model)
    quantise_adders(copy.graph, grids, layers)
    copy.functions.clear()  # the bodies that are needed now are put back
    return finish(copy)


def _float_model(entry: Entry) -> onnx.ModelProto:
    info = entry.info
    if info.quantisation is not None:
        raise UsageError(
            f"{entry.path} is in 8 bits already",
            hint=f"quantise the deployment that it was made from, {info.quantisation['source']['name']}",
        )
    if info.form == "portable":
        raise UnsupportedModel(
            f"{entry.path} holds standard operators only: its adder layers cannot be told any more",
            hint="export it without --portable, and quantise that",
        )
    return entry.load_model()


def _chosen_layers(model: onnx.ModelProto, keep_float: Collection[str]) -> list[str]:
    """Names of the nodes to quantise."""
    nodes = adders(ir.from_proto(model).graph)
    names = [str(node.name) for node in nodes]
    if not names:
        found = sorted({node.op_type for node in model.graph.node})
        raise UnsupportedModel(
            "this network has no adder convolutions, which are what adroit quantises",
            facts={"operators": ", ".join(found)},
            hint="ONNX Runtime's own tools quantise ordinary convolutions: onnxruntime.quantization.quantize_static",
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
        raise UsageError("every adder layer is to be kept in float32: nothing is left to quantise")
    for node in nodes:
        weight = constant(node.inputs[1])
        if node.name in chosen and (weight is None or weight[0].size > MAX_TAPS):
            raise UnsupportedModel(
                f"layer {node.name} has weights that are computed, or more than {MAX_TAPS} taps a filter",
                hint=f"leave it as it is: --keep-float {node.name}",
            )
    return chosen


def _quantised_layers(
    model: onnx.ModelProto, chosen: Collection[str], grids: Mapping[str, Grid]
) -> dict[str, QuantisedWeights]:
    layers = {}
    for node in adders(ir.from_proto(model).graph):
        if node.name in chosen:
            weight, scale, shift = (np.asarray(constant(value), np.float32) for value in node.inputs[1:4])
            grid = grids[str(activations(node)[0].name)]
            layers[str(node.name)] = quantise_weights(weight, scale, shift, grid)
    return layers


def _record(
    entry: Entry,
    data: str,
    images: int,
    options: QuantiseOptions,
    grids: Mapping[str, Grid],
    layers: Mapping[str, QuantisedWeights],
    cost: Cost,
    costs: Mapping[str, Cost],
) -> dict[str, Any]:
    """What adroit.json tells of it."""
    return {
        "source": {"name": entry.info.name, "model": entry.info.model["sha256"]},
        "data": data,
        "images": images,
        "method": str(options.method),
        "percentile": options.percentile if options.method == Method.percentile else None,
        "bias_correction": options.bias_correction,
        "keep_float": list(options.keep_float),
        "on_these_images": dataclasses.asdict(cost),
        "tensors": {name: dataclasses.asdict(grid) for name, grid in grids.items()},
        "layers": {
            name: {
                "clamped_weights": weights.clamped,
                **({"alone": dataclasses.asdict(costs[name])} if name in costs else {}),
            }
            for name, weights in layers.items()
        },
    }
