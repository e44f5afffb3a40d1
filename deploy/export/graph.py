"""From a PyTorch network to an ONNX model with adroit's operators."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import torch
from torch import nn

from adroit.deploy.export.trace import trace
from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.schemas import register_schemas
from adroit.deploy.passes.fusing import FUSING_PASSES, MENDING_PASSES
from adroit.deploy.passes.name_nodes import name_values
from adroit.deploy.passes.stamp_operators import stamp_operators
from adroit.version import __version__

INPUT, OUTPUT = "image", "logits"


def export_graph(network: nn.Module, channels: int, size: tuple[int, int], any_size: bool) -> onnx.ModelProto:
    """Traces `network` (evaluation mode, float32) and fuses what adroit's operators can take in.

    Args:
        network: takes [N,channels,H,W].
        size: height and width in pixels to trace with.
        any_size: whether height and width are free in the exported model; the batch always is.

    Raises:
        UnsupportedModel: PyTorch's exporter cannot trace the network.
    """
    free = {0: "batch", 2: "height", 3: "width"} if any_size else {0: "batch"}
    example = torch.zeros(2, channels, *size)
    model = trace(network, example, [INPUT], [OUTPUT], {"x": free})
    fuse(model.graph)
    return finish(model)


def fuse(graph: ir.Graph) -> None:
    """Mends what runtimes would take otherwise, then fuses what operators and convolutions can take in."""
    for change in (*MENDING_PASSES, *FUSING_PASSES):
        change(graph)


def finish(model: ir.Model) -> onnx.ModelProto:
    """Names, stamps, bodies; nothing of the machine stays in the file. The result is checked."""
    ir.passes.common.RemoveUnusedNodesPass()(model)
    name_values(model.graph)
    stamp_operators(model)
    model.producer_name, model.producer_version = "adroit", __version__
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    proto = ir.serde.serialize_model(model)
    register_schemas()
    onnx.checker.check_model(proto, full_check=True)
    return proto


def inline_bodies(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model in standard operators only: every custom node replaced by its portable body."""
    import onnx.inliner

    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    _remove_stamps(plain.graph)
    inlined = onnx.inliner.inline_local_functions(plain)
    kept = [o for o in inlined.opset_import if o.domain == ""]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)
    onnx.checker.check_model(inlined, full_check=True)
    return inlined


def _remove_stamps(graph: onnx.GraphProto) -> None:
    """In branches too."""
    for node in graph.node:
        if node.domain == DOMAIN:
            for stamp in [a for a in node.attribute if a.name in ("plugin_namespace", "plugin_version")]:
                node.attribute.remove(stamp)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _remove_stamps(attribute.g)
