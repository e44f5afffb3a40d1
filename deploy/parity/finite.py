"""Outputs that are NaN or infinite: refused where they would be read as classes, with the layer where that begins."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.predictions import tells_no_class
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import AdroitWarning, UnsupportedModel

Tensors = Mapping[str, NDArray[Any]]


def check_finite(deployment: Deployment, outputs: Tensors, feeds: Tensors, names: Sequence[str]) -> None:
    """Checks what a network gave for a batch of samples.

    Args:
        outputs, feeds: by name, [n,...]. names: of the samples.

    Raises:
        UnsupportedModel: logits that tell no class. Other outputs that are not finite give a AdroitWarning.
    """
    for spec in deployment.info.outputs:
        value = outputs[spec.name]
        if value.dtype.kind != "f":
            continue
        is_logits = deployment.info.task in ("classification", "segmentation") and spec is deployment.info.outputs[0]
        bad = tells_no_class(value) if is_logits else ~np.isfinite(value).reshape(len(value), -1).all(1)
        if not bad.any():
            continue
        index = int(np.argmax(bad))
        message = f"{deployment.info.name}: the output {spec.name} is not finite for {names[index]}"
        if is_logits:
            sample = {name: array[index : index + 1] for name, array in feeds.items()}
            raise UnsupportedModel(
                message,
                facts={"cause": _first_layer(deployment, sample)},
                hint="its weights, or the values of its input, are too large for the arithmetic of the network",
            )
        warnings.warn(message, AdroitWarning, stacklevel=2)


def _first_layer(deployment: Deployment, sample: Tensors) -> str:
    """Says where the numbers of one sample leave the range: in its input, or behind which layer."""
    from adroit.deploy.passes.graph import MODULE_KEY, with_outputs
    from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime

    for name, array in sample.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"the input {name} is not finite itself"
    model = deployment.load_model()
    tensors = [name for node in model.graph.node for name in node.output if name]
    with OnnxRuntime(with_outputs(model, tensors), RuntimeOptions(threads=1), bool(deployment.info.operators)) as net:
        values = net.run(dict(sample))
    for node in model.graph.node:
        for name in node.output:
            value = values.get(name)
            if value is not None and value.dtype.kind == "f" and not np.isfinite(value).all():
                path = next((p.value for p in node.metadata_props if p.key == MODULE_KEY), "")
                kind = "NaN" if np.isnan(value).any() else "infinite"
                return f"the layer {path or node.name} ({node.op_type}) is the first with {kind} values"
    return "no layer of the exported model: the runtime's own arithmetic, as in float16, is too narrow"
