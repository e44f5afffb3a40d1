"""Interpolation by our own kernel in sessions on the CPU.

ONNX Runtime interpolates in the layout of its convolutions, whose channels come in blocks: the head of a routed
network writes its 19 classes as 32 channels of full size and then copies them out. At 256 x 512 that took 2.4 to
3.2 milliseconds by ONNX Runtime's profiler, the kernel 0.7 to 1.0 (one thread of an AMD EPYC).

Only the session's own copy of a model is changed. What is deployed keeps the standard operator, so that every other
runtime, a GPU's above all, interpolates as it does best.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from deploy.entry import all_nodes
from deploy.operators import DOMAIN, session_operators

NAME = "BilinearUpsample"
_MODES = (b"half_pixel", b"pytorch_half_pixel")  # the same but where the result has one pixel


def use_own_upsampling(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with BilinearUpsample (plugins/operators.toml) in place of each Resize that does the same.

    Args:
        model: float32, with adroit's operators; it stays as it is.
    """
    if not any(node.op_type == "Resize" for node in all_nodes(model.graph)):
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    _replace(changed.graph, {})
    return changed


def _replace(graph: onnx.GraphProto, outer: Mapping[str, NDArray[np.generic]]) -> None:
    """In branches too; `outer`: small constants that are known outside of the graph."""
    known = {**outer, **{t.name: numpy_helper.to_array(t) for t in graph.initializer if list(t.dims) == [4]}}
    for node in graph.node:
        factor = _factor(node, known) if node.op_type == "Resize" else None
        if factor is not None:
            node.op_type, node.domain = NAME, DOMAIN
            del node.input[1:], node.attribute[:]
            node.attribute.append(helper.make_attribute("factor", factor))
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _replace(attribute.g, known)


def _factor(node: onnx.NodeProto, known: Mapping[str, NDArray[np.generic]]) -> int | None:
    """By how much a Resize enlarges height and width, where that is something that the kernel does."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    bilinear = attributes.get("mode") == b"linear" and not attributes.get("antialias")
    aligned = attributes.get("coordinate_transformation_mode", b"half_pixel") in _MODES
    scales = known.get(node.input[2]) if len(node.input) == 3 else None
    if not bilinear or not aligned or scales is None:
        return None
    allowed = session_operators()[NAME].attributes["factor"].values
    return next((factor for factor in allowed if np.array_equal(scales, [1, 1, factor, factor])), None)
