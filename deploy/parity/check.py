"""`adroit check`: a deployment against the float64 PyTorch network, on real images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import GATES_OUTPUT
from adroit.deploy.parity.consistency import compare_consistency
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

# Images at a time; bounds the memory of the float64 reference.
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
    """Runs every image through the deployment and through the float64 network.

    Args:
        layers: also compare every intermediate tensor that is a module's output.
        progress: called with images done and images in all.
        gate_threshold: of a routed network, see Deployment.feeds.
        shift: also measure how often shifts of less than so many pixels leave the answer as it was.

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

    precision = "float16" if runtime.facts.get("precision") == "fp16" else "float32"
    worst: dict[str, Comparison] = {}
    predictions: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    gates: list[tuple[NDArray[np.floating], NDArray[np.floating]]] = []
    overlap = Overlap(deployment, images)
    with runtime:
        for where, x in images.batches(deployment.info.preprocessing, BATCH[deployment.info.task]):
            values = runtime.run(deployment.feeds(x, gate_threshold))
            references, limits = reference.run(x, list(targets), where.start, precision)
            for module, name in targets.items():
                if module in references:
                    result = compare(values[name], references[module], limits[module])
                    worst[module] = worse(worst.get(module), result, where.start, len(x))
            predictions.append((values[targets[""]].argmax(1), references[""].argmax(1)))
            overlap.add(where.start, predictions[-1])
            if GATES_OUTPUT in values:
                gates.append((values[GATES_OUTPUT], reference.gates(x)))
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


def _route_agreement(gates: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]]) -> RouteAgreement:
    ours = np.concatenate([a for a, _ in gates])
    theirs = np.concatenate([b for _, b in gates])
    differ = (ours > 0) != (theirs > 0)
    largest = float(np.maximum(ours, theirs)[differ].max()) if differ.any() else 0.0
    return RouteAgreement(int(differ.size), int(differ.sum()), largest, len(np.unique(ours > 0, axis=0)))


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
