"""Convolutions without a bias lose the zeros that the exporter gives them for one: an addition each output.

Some of those zeros have a shape that no bias has, which ONNX Runtime refuses: [M, C/G] for a three-dimensional
convolution.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adroit.deploy.passes.graph import constant


def drop_zero_bias(graph: ir.Graph) -> int:
    """Y = Conv(X, W, 0) becomes Conv(X, W), in branches too; the same for ConvTranspose."""
    count = 0
    for node in graph.all_nodes():
        if node.op_type in ("Conv", "ConvTranspose") and node.domain == "" and len(node.inputs) > 2:
            bias = constant(node.inputs[2])
            if bias is not None and not np.any(bias):
                node.resize_inputs(2)
                count += 1
    return count
