"""`adroit check`: a deployment against the float64 PyTorch network, on real images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from deploy.entry import GATES, Entry
from deploy.parity.consistency import ConsistencyReport, compare_consistency
from deploy.parity.tolerance import Comparison, compare
from deploy.passes.graph import MODULE_KEY
from deploy.runtimes.base import Runtime
from deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from deploy.runtimes.open import RuntimeOptions, open_runtime
from deploy.runtimes.torch_runtime import load_reference
from models.data.images import ImageSet
from models.errors import ParityError, UsageError
from models.metrics.segmentation import ConfusionMatrix
from models.metrics.shift_consistency import Batch
from models.routing.route import Route

# Images at a time; bounds the memory of the float64 reference.
BATCH = {"classification": 32, "segmentation": 2}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LayerParity:
    """One intermediate tensor: the ONNX node that makes it, the module whose output it is."""

    node: str
    module: str
    comparison: Comparison


@dataclass(frozen=True)
class RouteAgreement:
    """Gates of a routed network, open or closed, in the deployment and in the float64 network.

    Attributes:
        gates: how many were compared, over all images. different: how many differ.
        largest_gate: of those that differ, the largest value on either side: how far a gate was from
            its threshold; 0 where none differs.
        routes: how many different routes the images took.
    """

    gates: int
    different: int
    largest_gate: float
    routes: int


@dataclass(frozen=True)
class ParityReport:
    """The verdict over all images.

    Attributes:
        facts: what ran (Runtime.facts).
        images: how many were compared.
        output: the worst comparison of the logits; its index is (image, ...).
        argmax_equal: share of the predictions (images, or pixels) of the same class, 0 to 1.
        top1: accuracy of deployment and reference, each 0 to 1, where labels are given.
        mean_iou: mean intersection over union of deployment and network, where label maps are given.
        consistency: how often both keep their answer when images move, where asked for.
        routes: of a routed network.
        layers: in graph order, where asked for.
    """

    facts: dict[str, Any]
    images: int
    output: Comparison
    argmax_equal: float
    top1: tuple[float, float] | None
    mean_iou: tuple[float, float] | None = None
    consistency: ConsistencyReport | None = None
    routes: RouteAgreement | None = None
    layers: Sequence[LayerParity] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.output.passed and self.first_wrong_layer is None

    @property
    def first_wrong_layer(self) -> LayerParity | None:
        return next((layer for layer in self.layers if not layer.comparison.passed), None)

    def to_json(self) -> dict[str, Any]:
        return {"passed": self.passed, **dataclasses.asdict(self)}


def check_entry(
    entry: Entry,
    images: ImageSet,
    options: RuntimeOptions,
    layers: bool = False,
    progress: Progress | None = None,
    gate_threshold: float = 0.0,
    shift: int | None = None,
) -> ParityReport:
    """Runs every image through the deployment and through the float64 network.

    Args:
        layers: also compare every intermediate tensor that is a module's output.
        progress: called with images done and images in all.
        gate_threshold: of a routed network, see Entry.feeds.
        shift: also measure how often shifts of less than so many pixels leave the answer as it was.

    Raises:
        UsageError: unreadable images or entry, labels that are no classes, images too small for `shift`.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    check_labels(images, entry.info.outputs[0].shape[1])
    reference = _Reference(entry, gate_threshold)
    targets = {"": entry.info.outputs[0].name}
    nodes: dict[str, str] = {}
    if layers:
        model, nodes = _with_layer_outputs(entry.load_model(), reference.modules)
        runtime: Runtime = OnnxRuntime(model, options, bool(entry.info.operators))
        targets |= {module: module for module in nodes}
    else:
        runtime = open_runtime(entry, options)

    precision = "float16" if runtime.facts.get("precision") == "fp16" else "float32"
    worst: dict[str, Comparison] = {}
    predictions: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    gates: list[tuple[NDArray[np.floating], NDArray[np.floating]]] = []
    overlap = _Overlap(entry, images)
    with runtime:
        for where, x in images.batches(entry.info.preprocessing, BATCH[entry.info.task]):
            values = runtime.run(entry.feeds(x, gate_threshold))
            references, limits = reference.run(x, list(targets), where.start, precision)
            for module, name in targets.items():
                if module in references:
                    result = compare(values[name], references[module], limits[module])
                    worst[module] = worse(worst.get(module), result, where.start, len(x))
            predictions.append((values[targets[""]].argmax(1), references[""].argmax(1)))
            overlap.add(where.start, predictions[-1])
            if GATES in values:
                gates.append((values[GATES], reference.gates(x)))
            if progress:
                progress(where.stop, len(images))

        def predict(x: Batch) -> NDArray[np.floating]:
            return runtime.run(entry.feeds(x, gate_threshold))[targets[""]]

        consistency = compare_consistency(entry, images, predict, reference.logits, shift) if shift else None
    if not reference.varies:
        raise ParityError(
            "nothing can be checked: the PyTorch network gives the same output for all of these images",
            hint="train the network, or give images that differ",
        )
    equal = [ours == theirs for ours, theirs in predictions]
    return ParityReport(
        facts=runtime.facts,
        images=len(images),
        output=worst[""],
        argmax_equal=sum(int(e.sum()) for e in equal) / sum(e.size for e in equal),
        top1=accuracy(images, predictions),
        mean_iou=overlap.means,
        consistency=consistency,
        routes=_route_agreement(gates) if gates else None,
        layers=[LayerParity(nodes[module], module, worst[module]) for module in nodes if module in worst],
    )


def label_map(images: ImageSet, index: int, size: tuple[int, int], void: int) -> NDArray[np.uint8]:
    """[H,W] classes of an image of a set that has maps, for answers of `size`.

    Void is 255 in most data sets, the number after the last class in others: it becomes `void`.

    Raises:
        UsageError: a map of another size, or as ImageSet.maps.
    """
    assert images.maps is not None
    labels = images.maps(index)
    if labels.shape != size:
        raise UsageError(
            f"the label map of {images.names[index]} is {labels.shape[0]} x {labels.shape[1]} pixels,"
            f" the network's input {size[0]} x {size[1]}"
        )
    return np.where(labels == 255, np.uint8(void), labels)


class _Overlap:
    """Mean intersection over union of both, where there are label maps."""

    def __init__(self, entry: Entry, images: ImageSet) -> None:
        classes = entry.info.outputs[0].shape[1]
        self._images, self._preprocessing = images, entry.info.preprocessing
        self._void = classes if isinstance(classes, int) else 0
        self._matrices = [ConfusionMatrix(self._void, self._void) for _ in range(2)]

    def add(self, first: int, predictions: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
        """[n,H,W] of deployment and network for the images from `first` on."""
        if self._images.maps is None:
            return
        for offset in range(len(predictions[0])):
            image = self._preprocessing.geometry(self._images.load(first + offset))
            labels = label_map(self._images, first + offset, (image.shape[0], image.shape[1]), self._void)
            for matrix, found in zip(self._matrices, predictions, strict=True):
                matrix.add(self._preprocessing.unpadded(found[offset], labels.shape), labels)

    @property
    def means(self) -> tuple[float, float] | None:
        if self._images.maps is None:
            return None
        ours, theirs = (m.mean_intersection_over_union for m in self._matrices)
        return ours, theirs


class _Reference:
    """The float64 network, run as the deployment is."""

    def __init__(self, entry: Entry, gate_threshold: float) -> None:
        from models.anti_aliasing import AdaptiveAntiAlias

        self._network = load_reference(entry).double()
        # Leaf modules and filters: what a block returns is not always what its last node makes.
        self.modules = {
            path
            for path, m in self._network.named_modules()
            if path and (isinstance(m, AdaptiveAntiAlias) or not list(m.children()))
        }
        self._first: NDArray[np.float64] | None = None
        self.varies = False  # whether any output seen differs from the first
        self._arguments: tuple[Any, ...] = ()
        if entry.info.routing is not None:
            import torch

            baked = entry.info.routing["route"]
            baked_threshold = entry.baked_threshold
            threshold = torch.tensor(
                [gate_threshold if baked_threshold is None else baked_threshold], dtype=torch.float64
            )
            self._arguments = (threshold, Route.from_json(baked) if baked else None)

    def run(
        self, x: NDArray[np.float32], modules: Sequence[str], seed: int, precision: str
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
        """References and limits, as run_with_limits."""
        import torch

        from deploy.parity.rounding_model import run_with_limits

        found = run_with_limits(self._network, torch.from_numpy(x).double(), modules, seed, self._arguments, precision)
        references, limits = ({path: value.numpy() for path, value in part.items()} for part in found)
        output = references[""]
        self._first = output[:1] if self._first is None else self._first
        self.varies = self.varies or output.shape[1:] != self._first.shape[1:] or bool((output != self._first).any())
        return references, limits

    def logits(self, x: Batch) -> NDArray[np.float64]:
        """[N,classes] or [N,classes,H,W], and no limits."""
        import torch

        with torch.no_grad():
            values: NDArray[np.float64] = self._network(torch.from_numpy(x).double(), *self._arguments).numpy()
        return values

    def gates(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """[N,paths]."""
        import torch

        with torch.no_grad():
            values = self._network(torch.from_numpy(x).double(), *self._arguments, with_gates=True)[1]
        gates: NDArray[np.float64] = values.numpy()
        return gates


def _route_agreement(gates: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]]) -> RouteAgreement:
    ours = np.concatenate([a for a, _ in gates])
    theirs = np.concatenate([b for _, b in gates])
    differ = (ours > 0) != (theirs > 0)
    largest = float(np.maximum(ours, theirs)[differ].max()) if differ.any() else 0.0
    return RouteAgreement(int(differ.size), int(differ.sum()), largest, len(np.unique(ours > 0, axis=0)))


def check_labels(images: ImageSet, classes: int | str) -> None:
    if images.labels is None or not isinstance(classes, int):
        return
    low, high = images.labels.min(), images.labels.max()
    if low < 0 or high >= classes:
        raise UsageError(f"the labels run from {low} to {high}, the network has {classes} classes")


def accuracy(
    images: ImageSet, predictions: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> tuple[float, float] | None:
    if images.labels is None:
        return None
    ours, theirs = (np.concatenate(column) for column in zip(*predictions, strict=True))
    return float((ours == images.labels).mean()), float((theirs == images.labels).mean())


def worse(old: Comparison | None, new: Comparison, first_image: int, images: int) -> Comparison:
    """The worse of two batches' comparisons, indices counted from the first image of all."""
    moved = dataclasses.replace(new, worst=(new.worst[0] + first_image, *new.worst[1:]) if new.worst else ())
    if old is None:
        return moved
    elements = old.elements + new.elements
    above = (old.above_half * old.elements + new.above_half * new.elements) / elements
    return dataclasses.replace(old if old.used >= moved.used else moved, elements=elements, above_half=above)


def _with_layer_outputs(model: onnx.ModelProto, modules: set[str]) -> tuple[onnx.ModelProto, dict[str, str]]:
    """A copy that also gives out every value named after the module whose result it is; module to node name."""
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    shown = {value.name for value in model.graph.output}
    found = {}
    for node in model.graph.node:
        path = next((p.value for p in node.metadata_props if p.key == MODULE_KEY), node.output[0])
        if node.output[0] == path and path in modules and path not in shown:
            found[path] = node.name
            wider.graph.output.append(onnx.ValueInfoProto(name=path))
    return wider, found
