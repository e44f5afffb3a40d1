"""Exporting a routed network in one of its forms of execution.

    masked   computes every path and multiplies by its gate: the oracle
    if       computes what the gates open (deploy/passes/branch_on_gates.py)
    static   one route baked in: its paths are the only ones in the graph

All three have the inputs `image` and `gate_threshold` (one value, or one a sample; 0 is the trained
network) and the outputs `logits` and `gates` [N,paths] in the order of RoutingSpace.paths, 0 where
closed. Networks without gates have neither, and the static form only. Where a threshold is baked in,
the input is absent and the rest is the same.
"""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import onnx_ir as ir
import torch

from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT, GATES_OUTPUT
from adroit.deploy.deployment.records import RoutingForm
from adroit.deploy.export.graph import INPUT, OUTPUT, finish, fuse
from adroit.deploy.export.trace import trace
from adroit.deploy.passes.branch_on_gates import branch_on_gates
from adroit.deploy.passes.graph import add_initializer, constant
from adroit.errors import UnsupportedModel, UsageError
from adroit.models.networks.dynamic_routing.gate import SoftGate
from adroit.models.networks.dynamic_routing.layers import ConvNorm
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.cost import GATE_SHRINK, SIZE_MULTIPLE
from adroit.models.routing.route import Route


def export_routed_graph(
    network: DynamicRouting, form: RoutingForm, route: Route | None = None, threshold: float | None = None
) -> onnx.ModelProto:
    """Traces `network` (evaluation mode, float32).

    Args:
        route: the paths that may be open; for "static" only. All of them if None.
        threshold: of the gates, baked in; None leaves it an input.

    Raises:
        UsageError: a form that does not fit the network, a route without the static form, or a
            threshold that no gate can be above, or without gates.
        UnsupportedModel: PyTorch's exporter cannot trace the network.
    """
    gated = network.gate != "none"
    if not gated and form != "static":
        raise UsageError(f"a network without gates has no {form} form", hint="export it with --routing static")
    if route is not None and form != "static":
        raise UsageError(f"the {form} form takes every route", hint="bake one in with --routing static")
    if threshold is not None and not (gated and 0.0 <= threshold < 1.0):
        raise UsageError(
            f"a gate threshold is at least 0 and below 1, not {threshold}" if gated else "there are no gates to close",
            hint="leave the threshold out",
        )
    # Sizes are free in the result, but symbols make tracing many times slower: trace small, then free them.
    side = SIZE_MULTIPLE * GATE_SHRINK.get(network.gate, 1)
    example = torch.zeros(2, 3, side, side)
    inputs, outputs = ([INPUT, GATE_THRESHOLD_INPUT], [OUTPUT, GATES_OUTPUT]) if gated else ([INPUT], [OUTPUT])
    sizes: dict[str, dict[int, str]] = {"x": {0: "batch"}}
    arguments: dict[str, object] = {}
    if gated:
        sizes[GATE_THRESHOLD_INPUT] = {0: "thresholds"}
        arguments = {GATE_THRESHOLD_INPUT: torch.zeros(2), "with_gates": True}
    if route is not None:
        network = _Along(network, route)  # type: ignore[assignment]
    with contextlib.ExitStack() as stack:
        # Folding is no part of the graph: traced sixty times over, it takes a third of the exporter's time.
        for module in list(network.modules()):
            if isinstance(module, SoftGate):
                stack.enter_context(module.frozen())
        for module in list(network.modules()):
            if isinstance(module, ConvNorm):
                stack.enter_context(module.frozen())
        model = trace(network, example, inputs, outputs, sizes, arguments)
    _free_sizes(model.graph, side)
    if threshold is not None:
        _bake_threshold(model.graph, threshold)
    fuse(model.graph)
    if form == "if":
        space = network.space
        branch_on_gates(model.graph, space, GATES_OUTPUT)
    return finish(model)


class _Along(torch.nn.Module):
    """The network held to a route: tracing takes tensors only."""

    def __init__(self, network: DynamicRouting, route: Route) -> None:
        super().__init__()
        self.network, self.route = network, route

    def forward(
        self, x: torch.Tensor, gate_threshold: torch.Tensor | None = None, with_gates: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        result: torch.Tensor | tuple[torch.Tensor, torch.Tensor] = self.network(
            x, gate_threshold, self.route, with_gates
        )
        return result


def _bake_threshold(graph: ir.Graph, threshold: float) -> None:
    """Puts a constant in the place of the input."""
    (given,) = [value for value in graph.inputs if value.name == GATE_THRESHOLD_INPUT]
    graph.inputs.remove(given)
    given.replace_all_uses_with(add_initializer(graph, GATE_THRESHOLD_INPUT, np.array([threshold], np.float32)))


def _free_sizes(graph: ir.Graph, side: int) -> None:
    """Makes height and width free: no node may hold a size, and the noted shapes lose theirs.

    Raises:
        UnsupportedModel: a node whose result has a size of the traced image whatever the input.
    """
    declared = {value.name: value.shape for value in graph.outputs}
    for node in graph:
        fixed = node.op_type in ("Reshape", "Expand", "ConstantOfShape", "Tile") or (
            node.op_type == "Resize" and len(node.inputs) > 3
        )
        shapes = [np.asarray(a) for v in node.inputs if (a := constant(v)) is not None and a.dtype == np.int64]
        if fixed and any(a.size >= 4 and int(a[-2:].max()) > 1 for a in shapes):
            raise UnsupportedModel(
                f"{node.op_type} of {node.name} holds a size, so the model would take {side} pixels only"
            )
        for value in node.outputs:
            value.shape = None
    for value in graph.outputs:
        value.shape = declared[value.name]
    for value in (*graph.inputs, *graph.outputs):
        if value.name in (INPUT, OUTPUT) and value.shape is not None:
            value.shape = ir.Shape(["batch", value.shape[1], "height", "width"])
