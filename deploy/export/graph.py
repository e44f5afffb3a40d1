"""From a PyTorch network to an ONNX model with adroit's operators."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import nn

from deploy import __version__
from deploy.export.translations import translations
from deploy.passes.fold_batch_norm import fold_batch_norm
from deploy.passes.fuse_relu import fuse_relu
from deploy.passes.fuse_residual import fuse_residual
from deploy.passes.name_nodes import keep_module_paths, name_values
from deploy.passes.stamp_operators import stamp_operators
from deploy.schemas import register_schemas
from models.errors import UnsupportedModel

OPSET = 18
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
    model = _trace(network, torch.zeros(2, channels, *size), any_size)
    graph = model.graph
    keep_module_paths(graph)
    fold_batch_norm(graph)
    fuse_residual(graph)
    fuse_relu(graph)
    ir.passes.common.RemoveUnusedNodesPass()(model)
    name_values(graph)
    stamp_operators(model)
    model.producer_name, model.producer_version = "adroit", __version__
    model.metadata_props.clear()
    graph.metadata_props.clear()
    proto = ir.serde.serialize_model(model)
    register_schemas()
    onnx.checker.check_model(proto, full_check=True)
    return proto


def inline_bodies(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model in standard operators only: every custom node replaced by its portable body."""
    import onnx.inliner

    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        for name in ("plugin_namespace", "plugin_version"):
            for attribute in [a for a in node.attribute if a.name == name]:
                node.attribute.remove(attribute)
    inlined = onnx.inliner.inline_local_functions(plain)
    kept = [o for o in inlined.opset_import if o.domain == ""]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)
    onnx.checker.check_model(inlined, full_check=True)
    return inlined


def _trace(network: nn.Module, example: torch.Tensor, any_size: bool) -> ir.Model:
    sizes: dict[int, Any] = {0: torch.export.Dim("batch")}
    if any_size:
        sizes |= {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                network.requires_grad_(False),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=(sizes,),
                custom_translation_table=translations(),
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        raise UnsupportedModel("PyTorch cannot export this network", facts={"reason": reason}) from error
    assert program is not None
    return program.model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints and logs about what it lacks that no network here needs."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
