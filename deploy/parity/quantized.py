"""Checks a deployment in 8 bits: every part of it, on the part's own inputs.

A rounding that falls the other way moves an integer by one, and the network carries that on: two right
implementations may give different logits, so no tolerance holds from end to end. Each part is compared instead, on
the values that the deployment itself gave that part:

quantized layers    to the integer sums, bit for bit (the torch operator; plugins/operators.toml)
float parts         to float64, within the limit of their arithmetic (rounding_model.py)
quantization        to the nearest integer; where the limit spans a border between two, either is right

So a deployment passes if it computes the quantized network right. The quality of that network stands beside it: its
classes and its accuracy against those of the float64 network that it was quantized from.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.grid import LEVELS, Grid
from adroit.deploy.operators.rules import attributes_of, operator_rules
from adroit.deploy.parity.check import BATCH, Progress, worse
from adroit.deploy.parity.consistency import compare_consistency
from adroit.deploy.parity.labels import accuracy, check_labels
from adroit.deploy.parity.measured_part import MeasuredPart
from adroit.deploy.parity.reference import open_reference
from adroit.deploy.parity.report import LayerParity, ParityReport
from adroit.deploy.parity.rounding_model import run_with_limits
from adroit.deploy.parity.segments import Segment, in_float64
from adroit.deploy.parity.tolerance import Comparison, compare
from adroit.deploy.passes.graph import with_outputs
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UnsupportedModel, UsageError
from adroit.models.data.images import ImageSet
from adroit.models.metrics.shift_consistency import Batch


def check_quantized(
    deployment: Deployment,
    images: ImageSet,
    options: RuntimeOptions,
    layers: bool = False,
    progress: Progress | None = None,
    shift: int | None = None,
) -> ParityReport:
    """Compares every part of the deployment on every image, and its classes with those of the float64 network.

    Args:
        layers: report every part; else only those that are wrong. shift: as check_deployment.

    Raises:
        UsageError, EnvironmentFault, UnsupportedModel: as check_deployment; another runtime than ONNX Runtime.
    """
    if options.runtime != RuntimeName.onnxruntime or options.version not in (None, 1):
        raise UsageError(
            "a deployment in 8 bits is checked part by part, which needs the exported model in ONNX Runtime",
            hint="leave --runtime and --build out",
        )
    check_labels(images, deployment.info.outputs[0].shape[1])
    reference = open_reference(deployment, 0.0)
    model = deployment.load_model()
    parts = _parts(model)
    output = deployment.info.outputs[0].name

    worst: dict[str, Comparison] = {}
    predictions: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    shown = with_outputs(model, [name for part in parts for name in (*part.inputs, part.output)])
    with OnnxRuntime(shown, options, bool(deployment.info.operators)) as runtime:
        for where, x in images.batches(deployment.preprocessing, BATCH[deployment.info.task]):
            values = {deployment.info.inputs[0].name: x, **runtime.run(deployment.feeds(x))}
            for part in parts:
                comparison = part.compare(values, where.start)
                worst[part.output] = worse(worst.get(part.output), comparison, where.start, len(x))
            predictions.append((values[output].argmax(1), reference.logits(x).argmax(1)))
            if progress:
                progress(where.stop, len(images))

        def predict(x: Batch) -> NDArray[np.floating]:
            return runtime.run(deployment.feeds(x))[output]

        consistency = compare_consistency(deployment, images, predict, reference.logits, shift) if shift else None
        facts = runtime.facts
    rows = [LayerParity(part.node, part.output, worst[part.output]) for part in parts if part.output != output]
    return ParityReport(
        facts=facts,
        images=len(images),
        outputs={output: worst[output]},
        argmax_equal=float(np.mean(np.concatenate([ours == theirs for ours, theirs in predictions]))),
        top1=accuracy(images, predictions),
        consistency=consistency,
        layers=[row for row in rows if layers or not row.comparison.passed],
        empirical=sorted({name for part in parts if isinstance(part, _FloatPart) for name in part.empirical}),
    )


class _QuantizedLayer:
    """A node of an operator whose every output bit is defined."""

    def __init__(self, node: onnx.NodeProto, constants: Tensors) -> None:
        self.node, self.output = node.name, node.output[0]
        self.inputs = [name for name in node.input if name not in constants]
        self._values = {name: torch.from_numpy(constants[name].copy()) for name in node.input if name in constants}
        self._names, self._attributes = list(node.input), attributes_of(node)
        compute = operator_rules()[node.op_type].compute
        assert compute is not None, f"{node.op_type} defines every bit, so its rules compute it"
        self._compute = compute

    def compare(self, values: Tensors, seed: int) -> Comparison:
        inputs = self._values | {name: torch.from_numpy(values[name]) for name in self.inputs}
        expected = self._compute(self._attributes, *(inputs[name] for name in self._names)).double().numpy()
        return compare(values[self.output], expected, np.zeros_like(expected))


class _FloatPart:
    """Float nodes that end in an output of the model, or in a QuantizeLinear node of the grid `grid`."""

    def __init__(self, node: onnx.NodeProto, part: Segment | MeasuredPart, output: str, grid: Grid | None) -> None:
        self.node, self.output, self.inputs = node.name, output, part.inputs
        self._part, self._grid = part, grid
        self.empirical = part.operators if isinstance(part, MeasuredPart) else set()

    def compare(self, values: Tensors, seed: int) -> Comparison:
        if isinstance(self._part, MeasuredPart):
            reference, limit = self._part.run(values)
        else:
            first, *others = (torch.from_numpy(values[name]) for name in self.inputs)
            given = [*map(in_float64, others)]
            references, limits = run_with_limits(self._part, in_float64(first), [""], seed, given)
            reference, limit = references[""].numpy(), limits[""].numpy()
        value = values[self.output]
        if self._grid is not None and value.shape == reference.shape:
            value = _nearest(reference, value, self._grid)
        return compare(value, reference, limit)


def _nearest(reference: NDArray[np.float64], integers: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Returns the number nearest to the reference that rounds to each integer; the outer ones have no outer border."""
    steps = integers.astype(np.float64) - grid.zero_point
    low = np.where(integers == 0, -np.inf, (steps - 0.5) * grid.scale)
    high = np.where(integers == LEVELS, np.inf, (steps + 0.5) * grid.scale)
    return np.clip(reference, low, high)


def _parts(model: onnx.ModelProto) -> list[_QuantizedLayer | _FloatPart]:
    """Splits the model, in graph order, at its inputs, results of quantized layers, and quantized tensors."""
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    rules = operator_rules()
    quantized = [n for n in graph.node if n.domain == DOMAIN and rules[n.op_type].every_bit_defined]
    linear = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    borders = [v.name for v in graph.input] + [n.output[0] for n in (*quantized, *linear)]
    outputs = {v.name for v in graph.output}
    parts: list[_QuantizedLayer | _FloatPart] = []
    for node in graph.node:
        name = node.output[0]
        if node in quantized:
            parts.append(_QuantizedLayer(node, constants))
        elif node in linear:
            grid = Grid(float(constants[node.input[1]]), int(constants[node.input[2]]))
            parts.append(_FloatPart(node, _float_part(model, borders, node.input[0]), name, grid))
        elif name in outputs:
            parts.append(_FloatPart(node, _float_part(model, borders, name), name, None))
    return parts


def _float_part(model: onnx.ModelProto, borders: Collection[str], output: str) -> Segment | MeasuredPart:
    """The part in PyTorch; where it has an operator that is not known there, one whose limit is measured."""
    try:
        return Segment(model.graph, borders, output)
    except UnsupportedModel:
        return MeasuredPart(model, borders, output)
