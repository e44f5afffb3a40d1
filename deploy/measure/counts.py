"""Counts the operations of an ONNX model, layer by layer, by the formula of each operator.

Nothing refuses a model: a node without a formula, or of a shape that cannot be inferred, is listed as not counted.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.measure.formulas import FORMULAS, Formula, SizedNode, UncountedOperator
from adroit.deploy.measure.sizes import Shape, known_shapes, model_at_size, shapes_by_runtime, small_constants
from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.rules import attributes_of, operator_rules
from adroit.models.operators.counts import OperationCounts

_STANDARD = ("", "ai.onnx")
_REPEATED = ("Loop", "Scan", "SequenceMap")


@dataclass(frozen=True)
class LayerCounts:
    """The operations of one node of the graph; `shape` is that of its first output, () where it is not known."""

    node: str
    operator: str
    shape: Shape
    counts: OperationCounts


@dataclass(frozen=True)
class UncountedNode:
    """A node whose operations are not known, and the reason; `operator` has its domain where that is not ONNX's."""

    node: str
    operator: str
    reason: str


@dataclass(frozen=True)
class ModelCounts:
    """The operations of a model.

    Attributes:
        layers: every node that computes, in graph order.
        uncounted: nodes whose operations are not known; where there are any, `total` is the least that the model does.
        branches: of each If node whose branches differ, the one that is counted: that of more operations.
    """

    layers: Sequence[LayerCounts]
    uncounted: Sequence[UncountedNode] = ()
    branches: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> OperationCounts:
        """The operations of all layers."""
        return total_counts(self.layers)


def count_model(model: onnx.ModelProto, input_shapes: Mapping[str, Sequence[int]]) -> ModelCounts:
    """Counts the operations of a model; arithmetic on sizes is none of them.

    Args:
        model: any; adroit's operators and standard ones have formulas, local functions are counted by their bodies.
        input_shapes: the shape to count for, by input name.
    """
    sized = model_at_size(model, input_shapes)
    shapes = known_shapes(sized.graph)
    unknown = {name for node in sized.graph.node for name in node.output if name and name not in shapes}
    if unknown:
        shapes = shapes_by_runtime(sized, unknown) | shapes
    return _count_graph(sized.graph, shapes, {})


def count_deployment(deployment: Deployment, input_shapes: Mapping[str, Sequence[int]]) -> ModelCounts:
    """Counts a deployment for inputs of these shapes, by name.

    A portable deployment has none of adroit's operators left to count, so the network of ours that it was exported
    from is counted; another network's, as its file has it.

    Raises:
        UsageError, UnsupportedModel: as Deployment.load_model and, for a portable one, load_reference.
    """
    info = deployment.info
    if info.form == "portable" and info.reference == "checkpoint":
        from adroit.deploy.export.graph import export_graph
        from adroit.deploy.runtimes.torch_runtime import load_reference

        channels = len(deployment.preprocessing.mean)
        model = export_graph(load_reference(deployment), channels, deployment.input_size, deployment.any_size)
    else:
        model = deployment.load_model()
    return count_model(model, input_shapes)


def total_counts(layers: Sequence[LayerCounts]) -> OperationCounts:
    """Adds up the counts of all layers."""
    return sum((layer.counts for layer in layers), OperationCounts())


def _count_graph(
    graph: onnx.GraphProto, shapes: Mapping[str, Shape], values: Mapping[str, NDArray[Any]]
) -> ModelCounts:
    """Counts a graph; `shapes` has those of its values, and with `values` what it sees of the graph around it."""
    values = {**values, **small_constants(graph)}
    layers: list[LayerCounts] = []
    uncounted: list[UncountedNode] = []
    branches: dict[str, str] = {}
    for proto in graph.node:
        name = proto.name or next(filter(None, proto.output), proto.op_type)
        if proto.op_type == "If" and proto.domain in _STANDARD:
            chosen, counted = _count_if(proto, shapes, values)
            layers += counted.layers
            uncounted += counted.uncounted
            branches |= {**counted.branches, **({name: chosen} if chosen else {})}
            continue
        node = SizedNode(proto, shapes, values)
        try:
            counts = _formula(proto)(node)
            if counts.total:
                layers.append(LayerCounts(name, proto.op_type, shapes.get(proto.output[0], ()), counts))
        except UncountedOperator as error:
            uncounted.append(UncountedNode(name, _operator(proto), str(error)))
    return ModelCounts(layers, uncounted, branches)


def _count_if(
    proto: onnx.NodeProto, shapes: Mapping[str, Shape], values: Mapping[str, NDArray[Any]]
) -> tuple[str | None, ModelCounts]:
    """Returns the name of the larger branch, None where both are alike, and its counts; what either hides is kept."""
    counted = {
        attribute.name: _count_graph(attribute.g, {**shapes, **known_shapes(attribute.g)}, values)
        for attribute in proto.attribute
        if attribute.type == onnx.AttributeProto.GRAPH
    }
    chosen = max(counted, key=lambda name: counted[name].total.total)
    uncounted = [node for branch in counted.values() for node in branch.uncounted]
    differ = len({branch.total for branch in counted.values()}) > 1
    return chosen if differ else None, ModelCounts(counted[chosen].layers, uncounted, counted[chosen].branches)


def _formula(proto: onnx.NodeProto) -> Formula:
    """Returns the formula of a node's operator; raises UncountedOperator where there is none."""
    if proto.domain == DOMAIN:
        rules = operator_rules().get(proto.op_type)
        if rules and rules.counts:
            return functools.partial(_by_own_rule, rules.counts)
        raise UncountedOperator(f"deploy/operators/ has no formula for {proto.op_type}")
    if proto.domain in _STANDARD and proto.op_type in _REPEATED:
        raise UncountedOperator("how often its body runs is not known")
    if proto.domain in _STANDARD and proto.op_type in FORMULAS:
        return FORMULAS[proto.op_type]
    raise UncountedOperator(f"there is no formula for {_operator(proto)}")


def _by_own_rule(rule: Any, node: SizedNode) -> OperationCounts:
    counts: OperationCounts = rule(attributes_of(node.proto), node.input_shapes, node.output_shapes)
    return counts


def _operator(proto: onnx.NodeProto) -> str:
    return proto.op_type if proto.domain in _STANDARD else f"{proto.domain}::{proto.op_type}"
