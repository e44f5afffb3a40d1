"""`adroit check`: a deployment against the float64 PyTorch network, on real images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from deploy.entry import Entry
from deploy.parity.tolerance import Comparison, compare
from deploy.passes.graph import MODULE_KEY
from deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from deploy.runtimes.open import RuntimeOptions, open_runtime
from deploy.runtimes.torch_runtime import load_reference
from models.data.images import ImageSet
from models.errors import UsageError

BATCH = 32  # images at a time; bounds the memory of the float64 reference

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LayerParity:
    """One intermediate tensor: the ONNX node that makes it, the module whose output it is."""

    node: str
    module: str
    comparison: Comparison


@dataclass(frozen=True)
class ParityReport:
    """The verdict over all images.

    Attributes:
        facts: what ran (Runtime.facts).
        images: how many were compared.
        output: the worst comparison of the logits; its index is (image, ...).
        argmax_equal: images whose largest logit is the same class.
        top1: accuracy of deployment and reference, each 0 to 1, where labels are given.
        layers: in graph order, where asked for.
    """

    facts: dict[str, Any]
    images: int
    output: Comparison
    argmax_equal: int
    top1: tuple[float, float] | None
    layers: Sequence[LayerParity] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.output.passed

    @property
    def first_wrong_layer(self) -> LayerParity | None:
        return next((layer for layer in self.layers if not layer.comparison.passed), None)

    def to_json(self) -> dict[str, Any]:
        return {"passed": self.passed, **dataclasses.asdict(self)}


def check_entry(
    entry: Entry, images: ImageSet, options: RuntimeOptions, layers: bool = False, progress: Progress | None = None
) -> ParityReport:
    """Runs every image through the deployment and through the float64 network.

    Args:
        layers: also compare every intermediate tensor that is a module's output.
        progress: called with images done and images in all.

    Raises:
        UsageError: unreadable images or entry, labels that are no classes.
        EnvironmentFault, UnsupportedModel: as open_runtime.
    """
    import torch

    from deploy.parity.rounding_model import run_with_limits

    network = load_reference(entry).double()
    targets = {"": entry.info.outputs[0].name}
    nodes: dict[str, str] = {}
    if layers:
        model, found = _with_layer_outputs(entry.load_model(), {path for path, _ in network.named_modules() if path})
        runtime: Any = OnnxRuntime(model, options, bool(entry.info.operators))
        targets |= {module: module for module in found}
        nodes = found
    else:
        runtime = open_runtime(entry, options)

    worst: dict[str, Comparison] = {}
    predictions: list[NDArray[np.int64]] = []
    expected: list[NDArray[np.int64]] = []
    with runtime:
        for where, x in images.batches(entry.info.preprocessing, BATCH):
            values = runtime.run({entry.info.inputs[0].name: x})
            references, limits = run_with_limits(network, torch.from_numpy(x).double(), list(targets), seed=where.start)
            for module, name in targets.items():
                if module in references:
                    result = compare(values[name], references[module].numpy(), limits[module].numpy())
                    worst[module] = _worse(worst.get(module), result, where.start, len(x))
            predictions.append(values[targets[""]].argmax(1))
            expected.append(references[""].argmax(1).numpy())
            if progress:
                progress(where.stop, len(images))
    ours, theirs = np.concatenate(predictions), np.concatenate(expected)
    return ParityReport(
        facts=runtime.facts,
        images=len(images),
        output=worst[""],
        argmax_equal=int((ours == theirs).sum()),
        top1=_accuracy(images, ours, theirs, len(entry.info.labels)),
        layers=[LayerParity(nodes[module], module, worst[module]) for module in nodes if module in worst],
    )


def _accuracy(
    images: ImageSet, ours: NDArray[np.int64], theirs: NDArray[np.int64], classes: int
) -> tuple[float, float] | None:
    if images.labels is None:
        return None
    if classes and images.labels.max() >= classes:
        raise UsageError(f"the data has label {images.labels.max()}, the network has {classes} classes")
    return float((ours == images.labels).mean()), float((theirs == images.labels).mean())


def _worse(old: Comparison | None, new: Comparison, first_image: int, images: int) -> Comparison:
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
