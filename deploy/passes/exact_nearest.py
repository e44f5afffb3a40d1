"""Nearest interpolation picks PyTorch's pixels where ONNX Runtime would pick others.

PyTorch computes the source of pixel i as floor(i * (in / out)), ONNX Runtime as floor(i / (out / in)), both in float32.
From 14 pixels to 4 the third comes from 7 = 2 * 3.5; but 2 / 0.2857143 is 6.9999995, and ONNX Runtime takes the pixel
beside. Where the sizes are known and the two differ, the pixels are chosen by their indices.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adroit.deploy.passes.graph import MODULE_KEY, add_initializer, replace_node

Indices = NDArray[np.int64]


def exact_nearest(graph: ir.Graph) -> int:
    """Resize(X, nearest) becomes Gathers of X where its result would not be PyTorch's, in branches too."""
    return sum(_choose(node) for node in list(graph.all_nodes()) if _is_nearest(node))


def _is_nearest(node: ir.Node) -> bool:
    """Whether it is what PyTorch's exporter makes of mode "nearest" with a size for a result."""
    if node.op_type != "Resize" or node.domain != "" or len(node.inputs) < 4 or node.inputs[3] is None:
        return False
    wanted = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if any(name not in node.attributes or node.attributes[name].as_string() != text for name, text in wanted.items()):
        return False
    return "axes" not in node.attributes


def _choose(resize: ir.Node) -> bool:
    x, y = resize.inputs[0], resize.outputs[0]
    graph = resize.graph
    if graph is None or x is None or x.shape is None or y.shape is None or len(x.shape) != len(y.shape):
        return False
    sizes = [
        (axis, before, after)
        for axis, (before, after) in enumerate(zip(x.shape, y.shape, strict=True))
        if axis >= 2 and before != after
    ]
    known = [(axis, a, b) for axis, a, b in sizes if isinstance(a, int) and isinstance(b, int)]
    if len(known) < len(sizes) or all(np.array_equal(_pytorch(a, b), _onnxruntime(a, b)) for _, a, b in known):
        return False
    name = resize.metadata_props.get(MODULE_KEY) or y.name or ""
    for number, (axis, before, after) in enumerate(known):
        indices = add_initializer(graph, f"{name}.pixels_{axis}", _pytorch(before, after))
        gather = ir.Node(
            *("", "Gather", [x, indices], [ir.AttrInt64("axis", axis)]),
            name=resize.name,
            metadata_props=dict(resize.metadata_props),
        )
        if number == len(known) - 1:
            replace_node(resize, gather)
        else:
            graph.insert_before(resize, gather)
            x = gather.outputs[0]
            x.type = y.type
    return True


def _pytorch(before: int, after: int) -> Indices:
    scale = np.float32(before) / np.float32(after)
    indices: Indices = np.floor(np.arange(after, dtype=np.float32) * scale).astype(np.int64)
    return np.minimum(indices, before - 1)


def _onnxruntime(before: int, after: int) -> Indices:
    scale = np.float32(after) / np.float32(before)
    indices: Indices = np.floor(np.arange(after, dtype=np.float32) / scale).astype(np.int64)
    return np.minimum(indices, before - 1)
