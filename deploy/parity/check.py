"""Compares a float deployment with its float64 PyTorch network, on real data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import GATES_OUTPUT
from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.parity.consistency import ConsistencyReport, compare_consistency
from adroit.deploy.parity.labels import Overlap, accuracy, check_labels
from adroit.deploy.parity.reference import open_reference
from adroit.deploy.parity.report import LayerParity, ParityReport, RouteAgreement
from adroit.deploy.parity.tolerance import Comparison, compare
from adroit.deploy.passes.graph import MODULE_KEY
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.runtime import Runtime
from adroit.errors import ParityError, UsageError
from adroit.models.data.images import ImageSet
from adroit.models.data.tensor_files import TensorSet
from adroit.models.metrics.shift_consistency import Batch

if TYPE_CHECKING:
    from torch import nn

# Samples that run together; bounds the memory of the float64 reference.
BATCH = {"classification": 32, "segmentation": 2, "depth": 2, "tensors": 8}
# Tasks whose first output tells a class of each image or pixel.
WITH_CLASSES = ("classification", "segmentation")

Progress = Callable[[int, int], None]


def check_deployment(
    deployment: Deployment,
    data: ImageSet | TensorSet,
    options: RuntimeOptions,
    layers: bool = False,
    progress: Progress | None = None,
    gate_threshold: float = 0.0,
    shift: int | None = None,
    network: nn.Module | None = None,
) -> ParityReport:
    """Compares every output of a deployment with its float64 network on every sample.

    Args:
        data: images, or tensors by the names of the inputs.
        layers: also compare every intermediate tensor that is a module's output.
        progress: called with samples done and samples in all.
        gate_threshold: of a routed network, see Deployment.feeds.
        network: the user's own network, in float32, which is held to the same limits as the deployment.
        shift: also measure how often shifts of less than so many pixels leave the prediction unchanged.

    Raises:
        UsageError: unreadable images or deployment, labels that are no classes, images too small for `shift`.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    info = deployment.info
    has_classes = info.task in WITH_CLASSES
    images = data if isinstance(data, ImageSet) else None
    if images is not None and has_classes:
        check_labels(images, info.outputs[0].shape[1])
    if shift and (images is None or not has_classes):
        raise UsageError(f"{info.name} tells no classes of images, so shifts change none", hint="leave shifts out")
    reference = open_reference(deployment, gate_threshold)
    outputs = [spec.name for spec in info.outputs if spec.name != GATES_OUTPUT or info.routing is None]
    nodes: dict[str, str] = {}
    if layers:
        model, nodes = _with_layer_outputs(deployment.load_model(), reference.modules)
        runtime: Runtime = OnnxRuntime(model, options, bool(info.operators))
    else:
        runtime = open_runtime(deployment, options)
    totals = _Totals(deployment, data)
    with runtime:
        precision = "float16" if runtime.facts.get("precision") == "fp16" else "float32"
        for where, feeds in deployment.batches(data, BATCH[info.task], gate_threshold):
            values = runtime.run(feeds)
            references, limits = reference.run(feeds, [*outputs, *nodes], where.start, precision)
            for name in references:
                totals.add_tensor(name, values[name], references[name], limits[name], where.start)
            if network is not None:
                totals.add_network(_outputs_of(network, feeds, deployment), references, limits, where.start)
            if len(data) == 1:  # one sample alone shows no difference: its negative must
                opposite = {name: -x if x.dtype.kind == "f" else x for name, x in feeds.items()}
                reference.run(opposite, outputs[:1], where.start, precision)
            if has_classes:
                totals.add_classes(values[outputs[0]].argmax(1), references[outputs[0]].argmax(1), where.start)
            if info.routing is not None and GATES_OUTPUT in values:
                totals.gates.append((values[GATES_OUTPUT], reference.gates(feeds)))
            if progress:
                progress(where.stop, len(data))

        def predict(x: Batch) -> NDArray[np.floating]:
            return runtime.run(deployment.feeds(x, gate_threshold))[outputs[0]]

        consistency = (
            compare_consistency(deployment, images, predict, reference.logits, shift) if shift and images else None
        )
    if not reference.varies:
        raise ParityError(
            "nothing can be checked: the PyTorch network gives the same output for all of this data",
            hint="train the network, or give data that differs",
        )
    return totals.report(runtime.facts, outputs, nodes, consistency, sorted(reference.empirical))


class _Totals:
    """Collects the comparisons of all batches.

    Attributes:
        gates: by deployment and network, [n,paths], batch by batch.
    """

    def __init__(self, deployment: Deployment, data: ImageSet | TensorSet) -> None:
        self.gates: list[tuple[NDArray[np.floating], NDArray[np.floating]]] = []
        self._samples = len(data)
        self._images = data if isinstance(data, ImageSet) else None
        self._overlap = Overlap(deployment, data) if isinstance(data, ImageSet) else None
        self._worst: dict[str, Comparison] = {}
        self._network: dict[str, Comparison] = {}
        self._classes: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def add_tensor(
        self,
        name: str,
        value: NDArray[np.floating],
        reference: NDArray[np.float64],
        limit: NDArray[np.float64],
        first: int,
    ) -> None:
        """Compares an output, or a module's, for the samples from `first` on."""
        comparison = compare(value, reference, limit)
        self._worst[name] = worse(self._worst.get(name), comparison, first, len(reference))

    def add_network(
        self,
        values: Mapping[str, NDArray[np.floating]],
        references: Mapping[str, NDArray[np.float64]],
        limits: Mapping[str, NDArray[np.float64]],
        first: int,
    ) -> None:
        """Compares the outputs of the user's own network for the samples from `first` on."""
        for name, value in values.items():
            comparison = compare(value, references[name], limits[name])
            self._network[name] = worse(self._network.get(name), comparison, first, len(value))

    def add_classes(self, ours: NDArray[np.int64], theirs: NDArray[np.int64], first: int) -> None:
        """Adds the predicted classes of deployment and network for the images from `first` on."""
        self._classes.append((ours, theirs))
        if self._overlap is not None:
            self._overlap.add(first, (ours, theirs))

    def report(
        self,
        facts: dict[str, Any],
        outputs: Sequence[str],
        nodes: Mapping[str, str],
        consistency: ConsistencyReport | None,
        empirical: Sequence[str],
    ) -> ParityReport:
        """Builds the report; `nodes`: ONNX node by module, of the layers to report."""
        equal = [ours == theirs for ours, theirs in self._classes]
        images = self._images
        return ParityReport(
            facts=facts,
            images=self._samples,
            outputs={name: self._worst[name] for name in outputs},
            argmax_equal=sum(int(e.sum()) for e in equal) / sum(e.size for e in equal) if equal else None,
            top1=accuracy(images, self._classes) if images is not None and equal else None,
            mean_iou=self._overlap.means if self._overlap and equal else None,
            empirical=empirical,
            network=self._network or None,
            consistency=consistency,
            routes=_route_agreement(self.gates) if self.gates else None,
            layers=[LayerParity(nodes[m], m, self._worst[m]) for m in nodes if m in self._worst],
        )


def _outputs_of(network: nn.Module, feeds: Tensors, deployment: Deployment) -> dict[str, NDArray[np.floating]]:
    """The outputs of the user's own network; raises UsageError where they are not those of the deployment."""
    import torch

    from adroit.deploy.reference.capture import run_network

    with torch.no_grad():
        given = [torch.from_numpy(feeds[spec.name]) for spec in deployment.info.inputs]
        outputs = {name: value.numpy() for name, value in run_network(network.eval(), given).items()}
    expected = [spec.name for spec in deployment.info.outputs]
    if list(outputs) != expected:
        raise UsageError(
            "the network does not have the outputs of the deployment",
            facts={"network": ", ".join(outputs), "deployment": ", ".join(expected)},
            hint="give the network that was exported, with its arguments",
        )
    return outputs


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
