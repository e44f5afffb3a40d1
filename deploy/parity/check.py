"""Compares a float deployment with its float64 PyTorch network, on real images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import GATES_OUTPUT
from adroit.deploy.parity.consistency import ConsistencyReport, compare_consistency
from adroit.deploy.parity.labels import Overlap, accuracy, check_labels
from adroit.deploy.parity.reference import Reference
from adroit.deploy.parity.report import LayerParity, ParityReport, RouteAgreement
from adroit.deploy.parity.tolerance import Comparison, compare
from adroit.deploy.passes.graph import MODULE_KEY
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.runtime import Runtime
from adroit.errors import ParityError
from adroit.models.data.images import ImageSet
from adroit.models.metrics.shift_consistency import Batch

# Images that run together; bounds the memory of the float64 reference.
BATCH = {"classification": 32, "segmentation": 2}

Progress = Callable[[int, int], None]


def check_deployment(
    deployment: Deployment,
    images: ImageSet,
    options: RuntimeOptions,
    layers: bool = False,
    progress: Progress | None = None,
    gate_threshold: float = 0.0,
    shift: int | None = None,
) -> ParityReport:
    """Compares a deployment with its float64 network on every image.

    Args:
        layers: also compare every intermediate tensor that is a module's output.
        progress: called with images done and images in all.
        gate_threshold: of a routed network, see Deployment.feeds.
        shift: also measure how often shifts of less than so many pixels leave the prediction unchanged.

    Raises:
        UsageError: unreadable images or deployment, labels that are no classes, images too small for `shift`.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    check_labels(images, deployment.info.outputs[0].shape[1])
    reference = Reference(deployment, gate_threshold)
    targets = {"": deployment.info.outputs[0].name}
    nodes: dict[str, str] = {}
    if layers:
        model, nodes = _with_layer_outputs(deployment.load_model(), reference.modules)
        runtime: Runtime = OnnxRuntime(model, options, bool(deployment.info.operators))
        targets |= {module: module for module in nodes}
    else:
        runtime = open_runtime(deployment, options)
    totals = _Totals(deployment, images)
    with runtime:
        precision = "float16" if runtime.facts.get("precision") == "fp16" else "float32"
        for where, x in images.batches(deployment.info.preprocessing, BATCH[deployment.info.task]):
            values = runtime.run(deployment.feeds(x, gate_threshold))
            references, limits = reference.run(x, list(targets), where.start, precision)
            for module in targets.keys() & references.keys():
                totals.add_tensor(module, values[targets[module]], references[module], limits[module], where.start)
            totals.add_classes(values[targets[""]].argmax(1), references[""].argmax(1), where.start)
            if GATES_OUTPUT in values:
                totals.gates.append((values[GATES_OUTPUT], reference.gates(x)))
            if progress:
                progress(where.stop, len(images))

        def predict(x: Batch) -> NDArray[np.floating]:
            return runtime.run(deployment.feeds(x, gate_threshold))[targets[""]]

        consistency = compare_consistency(deployment, images, predict, reference.logits, shift) if shift else None
    if not reference.varies:
        raise ParityError(
            "nothing can be checked: the PyTorch network gives the same output for all of these images",
            hint="train the network, or give images that differ",
        )
    return totals.report(runtime.facts, nodes, consistency)


class _Totals:
    """Collects the comparisons of all batches.

    Attributes:
        gates: by deployment and network, [n,paths], batch by batch.
    """

    def __init__(self, deployment: Deployment, images: ImageSet) -> None:
        self.gates: list[tuple[NDArray[np.floating], NDArray[np.floating]]] = []
        self._images, self._overlap = images, Overlap(deployment, images)
        self._worst: dict[str, Comparison] = {}
        self._classes: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def add_tensor(
        self,
        module: str,
        value: NDArray[np.floating],
        reference: NDArray[np.float64],
        limit: NDArray[np.float64],
        first: int,
    ) -> None:
        """Compares a module's output for the images from `first` on."""
        comparison = compare(value, reference, limit)
        self._worst[module] = worse(self._worst.get(module), comparison, first, len(reference))

    def add_classes(self, ours: NDArray[np.int64], theirs: NDArray[np.int64], first: int) -> None:
        """Adds the predicted classes of deployment and network for the images from `first` on."""
        self._classes.append((ours, theirs))
        self._overlap.add(first, (ours, theirs))

    def report(
        self, facts: dict[str, Any], nodes: Mapping[str, str], consistency: ConsistencyReport | None
    ) -> ParityReport:
        """Builds the report; `nodes`: ONNX node by module, of the layers to report."""
        equal = [ours == theirs for ours, theirs in self._classes]
        return ParityReport(
            facts=facts,
            images=len(self._images),
            output=self._worst[""],
            argmax_equal=sum(int(e.sum()) for e in equal) / sum(e.size for e in equal),
            top1=accuracy(self._images, self._classes),
            mean_iou=self._overlap.means,
            consistency=consistency,
            routes=_route_agreement(self.gates) if self.gates else None,
            layers=[LayerParity(nodes[m], m, self._worst[m]) for m in nodes if m in self._worst],
        )


def _route_agreement(gates: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]]) -> RouteAgreement:
    ours = np.concatenate([a for a, _ in gates])
    theirs = np.concatenate([b for _, b in gates])
    differ = (ours > 0) != (theirs > 0)
    largest = float(np.maximum(ours, theirs)[differ].max()) if differ.any() else 0.0
    return RouteAgreement(int(differ.size), int(differ.sum()), largest, len(np.unique(ours > 0, axis=0)))


def worse(old: Comparison | None, new: Comparison, first_image: int, images: int) -> Comparison:
    """Returns the worse of two batches' comparisons, indices counted from the first image of all."""
    moved = dataclasses.replace(new, worst=(new.worst[0] + first_image, *new.worst[1:]) if new.worst else ())
    if old is None:
        return moved
    elements = old.elements + new.elements
    above = (old.above_half * old.elements + new.above_half * new.elements) / elements
    return dataclasses.replace(old if old.used >= moved.used else moved, elements=elements, above_half=above)


def _with_layer_outputs(model: onnx.ModelProto, modules: set[str]) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Returns a copy that also outputs every value that bears its module's name, and the node of each such module."""
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    shown = {value.name for value in model.graph.output}
    nodes = {}
    for node in model.graph.node:
        path = next((p.value for p in node.metadata_props if p.key == MODULE_KEY), node.output[0])
        if node.output[0] == path and path in modules and path not in shown:
            nodes[path] = node.name
            wider.graph.output.append(onnx.ValueInfoProto(name=path))
    return wider, nodes
