"""Tracing a PyTorch network to ONNX nodes: PyTorch's exporter, and of its optimizer what networks here need.

The exporter's own optimizer tries some seventy patterns on every node, which takes minutes for a
routed network; folding constants and sharing common nodes is all that matters here.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes import common
from torch import nn
from torch.export import ExportedProgram

from adroit.deploy.export.decompositions import decompose
from adroit.deploy.operators.rules import translations
from adroit.deploy.passes.graph import MODULE_KEY, add_initializer
from adroit.deploy.passes.interface import name_dimensions, name_interface
from adroit.deploy.passes.name_nodes import keep_module_paths
from adroit.errors import UnsupportedModel

OPSET = 18
# Constants of up to so many elements are computed at export: shapes, and the gates' folded weights.
FOLDED_ELEMENTS = 1 << 20


def trace(
    network: nn.Module,
    example: torch.Tensor,
    inputs: Sequence[str],
    outputs: Sequence[str],
    sizes: Mapping[str, Mapping[int, str]],
    arguments: Mapping[str, Any] | None = None,
) -> ir.Model:
    """Traces `network(example, **arguments)`; every node carries its module's path.

    Args:
        network: in evaluation mode.
        inputs, outputs: names in the model.
        sizes: the names of free dimensions by their place: first the example's, then others by argument, in order.

    Raises:
        UnsupportedModel: PyTorch's exporter cannot trace the network.
    """
    # Captured here, not by torch.onnx: it refuses a named size that another follows from, and captures twice.
    first = next(iter(inspect.signature(network.forward).parameters))
    keys = [first, *list(sizes)[1:]]
    free = {
        key: dict.fromkeys(given, torch.export.Dim.DYNAMIC) for key, given in zip(keys, sizes.values(), strict=True)
    }
    network.requires_grad_(False)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                network,
                (example,),
                dict(arguments or {}),
                dynamic_shapes=free | {name: None for name in arguments or {} if name not in free},
                strict=False,
            )
    except Exception as error:  # the exporter has no common class of errors
        raise _fault(error) from error
    return trace_program(program, inputs, outputs, list(sizes.values()))


def trace_program(
    program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str], free: Sequence[Mapping[int, str]]
) -> ir.Model:
    """The ONNX nodes of a program of torch.export; every node carries its module's path.

    Args:
        inputs, outputs: names in the model. free: names of the free dimensions of each input, by their place.

    Raises:
        UnsupportedModel: an operator that PyTorch has no ONNX for.
    """
    model = _traced(decompose(program))
    name_dimensions(model.graph, free)
    name_interface(model.graph, inputs, outputs)
    return model


def _traced(*given: Any, **settings: Any) -> ir.Model:
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                *given,
                **settings,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                custom_translation_table=translations(),
                optimize=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise _fault(error) from error
    assert program is not None
    model = program.model
    keep_module_paths(model.graph)
    _optimize(model)
    return model


def _fault(error: BaseException) -> UnsupportedModel:
    """One line of what the exporter says, never its dump."""
    reason = str(error.__cause__ or error).strip().split("\n")[0]
    missing = re.search(r"target=torch\.ops\.([\w.]+)\]", reason)
    if missing:
        return UnsupportedModel(
            f"PyTorch's exporter has no ONNX for {missing[1]}",
            hint="write that layer with other operations, which ONNX has",
        )
    return UnsupportedModel("PyTorch cannot export this network", facts={"reason": reason})


def _optimize(model: ir.Model) -> None:
    from onnxscript.optimizer import fold_constants

    common.InlinePass()(model)
    _settle_reshapes(model.graph)
    fold_constants(model, input_size_limit=FOLDED_ELEMENTS, output_size_limit=FOLDED_ELEMENTS)
    for step in (
        common.RemoveUnusedNodesPass(),
        common.IdentityEliminationPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
    ):
        step(model)
    # Passes number the names of nodes; a node's name is its module's.
    for node in model.graph.all_nodes():
        node.name = node.metadata_props.get(MODULE_KEY) or node.name


def _settle_reshapes(graph: ir.Graph) -> None:
    """A Reshape with one free dimension takes a constant with -1 there, not a shape computed at every run.

    Not where there are recurrent layers: the exporter notes shapes of the example after them, free or not.
    """
    if any(node.op_type in ("LSTM", "GRU", "RNN") for node in graph):
        return
    for node in graph:
        shape = node.outputs[0].shape
        if node.op_type == "Reshape" and shape is not None:
            dims = [d if isinstance(d, int) else -1 for d in shape]
            if dims.count(-1) <= 1:
                name = f"{node.outputs[0].name}.shape"
                node.replace_input_with(1, add_initializer(graph, name, np.array(dims, np.int64)))


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
