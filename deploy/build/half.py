"""A float16 network as a float16 ONNX file: what strongly typed builders need.

NVIDIA's builders take the types of the file as they are (TensorRT 11 has no other mode), so a half
precision engine is made by casting the file. Tools for that know neither adroit's operators nor that
some of their inputs must stay float32; hence this pass. Inputs and outputs of the model stay float32.

What stays float32, each with its reason in the returned list:
- of our operators, all but the values that operators.toml names under `half`: scale and shift of an
  adder convolution (its sums are near -3,000 with a spread of 2 to 15), a gate's parameters and value;
- sums of many terms and exponentials of the network itself (SUMS);
- nodes with a weight beyond float16, and nodes named by the user;
- what is computed from such float32 values alone, until it meets a float16 tensor.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
from adroit.deploy.operators.definitions import DOMAIN, operators
from adroit.deploy.passes.graph import add_initializer, constant
from adroit.errors import UnsupportedModel, UsageError

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
SUMS = ("ReduceMean", "ReduceSum", "GlobalAveragePool", "Softmax", "LogSoftmax", "Exp", "Pow")
LARGEST = 65504.0


@dataclass(frozen=True)
class Kept:
    """A node that stays in float32, or has parts that do, and why."""

    node: str
    operator: str
    why: str


def cast_to_half(model: ir.Model, keep: Collection[str] = (), operators_too: bool = True) -> list[Kept]:
    """Casts `model` in place; every value must have its type (run shape inference before).

    Args:
        keep: names of nodes to leave in float32.
        operators_too: whether our operators take float16 (the TensorRT plugins do; their portable
            bodies do not, and get casts round them).

    Raises:
        UsageError: a name in `keep` that no node has.
        UnsupportedModel: a loop, which the pass does not enter.
    """
    known = {node.name for node in model.graph.all_nodes()}
    if missing := sorted(set(keep) - {name for name in known if name}):
        raise UsageError(f"there is no node {missing[0]!r} to keep in float32", hint="give ONNX node names")
    caster = _Caster(model.graph, frozenset(keep), operators_too)
    caster.cast_graph(model.graph)
    for index, value in enumerate(model.graph.outputs):
        if value.dtype == HALF:
            name, inner = value.name, caster.as_type(value, FLOAT)
            value.name, inner.name = f"{name}.half", name
            inner.shape = value.shape
            model.graph.outputs[index] = inner
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in list(graph.initializers.values()):
            if not value.uses() and not value.is_graph_output():
                del graph.initializers[value.name or ""]
    return caster.kept


class _Caster:
    def __init__(self, graph: ir.Graph, keep: frozenset[str], operators_too: bool) -> None:
        self._graph, self._keep, self._operators_too = graph, keep, operators_too
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self.kept: list[Kept] = []

    def cast_graph(self, graph: ir.Graph) -> None:
        for node in list(graph):
            if node.op_type in ("Loop", "Scan"):
                raise UnsupportedModel(
                    f"node {node.name} is a {node.op_type}, which the cast to float16 does not enter",
                    hint="export with adroit's operators (without --portable), or build with --precision fp32",
                )
            if node.op_type == "If":
                self._cast_branches(node)
            elif node.domain == DOMAIN:
                self._cast_operator(node)
            else:
                self._cast_node(node)

    def as_type(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """`value` in `dtype`: itself, a constant of that type, or the output of one Cast for all who ask."""
        if value.dtype == dtype:
            return value
        if (value, dtype) not in self._made:
            self._made[value, dtype] = self._new(value, dtype)
        return self._made[value, dtype]

    def _new(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        name = f"{value.name}.{'half' if dtype == HALF else 'float'}"
        home = value.graph or self._graph
        if value.is_initializer():
            array = constant(value)
            assert array is not None and isinstance(home, ir.Graph)
            return add_initializer(home, name, array.astype(dtype.numpy()))
        cast = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(dtype))], num_outputs=1, name=f"node:{name}")
        made = cast.outputs[0]
        made.name, made.shape, made.type = name, value.shape, ir.TensorType(dtype)
        producer = value.producer()
        if producer is not None and producer.graph is not None:
            producer.graph.insert_after(producer, cast)
        elif len(self._graph):
            self._graph.insert_before(self._graph[0], cast)
        else:
            self._graph.append(cast)
        return made

    def _cast_branches(self, node: ir.Node) -> None:
        branches = [attribute.as_graph() for attribute in node.attributes.values()]
        for branch in branches:
            self.cast_graph(branch)
        for index, output in enumerate(node.outputs):
            found = [self._type_of(branch.outputs[index]) for branch in branches]
            if FLOAT not in found and HALF not in found:
                continue
            dtype = HALF if HALF in found else FLOAT
            for branch in branches:
                branch.outputs[index] = self.as_type(branch.outputs[index], dtype)
            output.type = ir.TensorType(dtype)

    def _cast_operator(self, node: ir.Node) -> None:
        described = operators()[node.op_type]
        half = described.half if self._operators_too else ()
        for index, wanted in enumerate(described.inputs):
            value = node.inputs[index]
            if value is not None and value.dtype in (FLOAT, HALF):
                node.replace_input_with(index, self.as_type(value, HALF if wanted.name in half else FLOAT))
        for value, output in zip(node.outputs, described.outputs, strict=True):
            if output.name in half:
                value.type = ir.TensorType(HALF)
            elif output.name in described.half:
                self._back_to_half(value)
        stay = [v.name for v in (*described.inputs, *described.outputs) if v.name not in half and v.type is None]
        why = f"{', '.join([*stay, 'every sum'])}" if self._operators_too else "its portable body computes in float32"
        self.kept.append(Kept(node.name or "", node.op_type, why))

    def _back_to_half(self, value: ir.Value) -> None:
        """Those who read `value`, which stays float32, get it in float16."""
        users = list(value.uses())
        for use in users:
            use.node.replace_input_with(use.idx, self.as_type(value, HALF))

    def _cast_node(self, node: ir.Node) -> None:
        fixed = (1, 2) if node.op_type == "Resize" else ()  # roi and scales are float32 by ONNX's definition
        floats = [
            (index, value)
            for index, value in enumerate(node.inputs)
            if value is not None and value.dtype in (FLOAT, HALF) and index not in fixed
        ]
        if not floats and not any(value.dtype in (FLOAT, HALF) for value in node.outputs):
            return
        constants = [value for _, value in floats if constant(value) is not None]
        moving = [value for _, value in floats if constant(value) is None]
        after_floats = bool(moving) and all(self._type_of(value) == FLOAT for value in moving)
        why = "computed from what stays float32" if after_floats else self._why_float(node, constants)
        dtype = FLOAT if why else HALF
        for index, value in floats:
            node.replace_input_with(index, self.as_type(value, dtype))
        makes_floats = [value for value in node.outputs if value.dtype in (FLOAT, HALF)]
        if makes_floats and (not floats or node.op_type == "Cast"):
            self._retype_source(node, dtype)
        for value in makes_floats:
            value.type = ir.TensorType(dtype)
            if why and not after_floats:
                self._back_to_half(value)
        if why:
            self.kept.append(Kept(node.name or "", node.op_type, why))

    def _why_float(self, node: ir.Node, constants: list[ir.Value]) -> str:
        """Why the node stays in float32; nothing where it does not."""
        if node.name in self._keep:
            return "requested"
        if node.op_type in SUMS:
            return "a sum of many terms or an exponential, which float16 may not hold"
        if node.op_type == "Cast" and node.inputs[0] is not None and node.inputs[0].dtype == ir.DataType.INT64:
            return "an integer, which float16 may not hold"
        for value in constants:
            array = constant(value)
            largest = 0.0 if array is None or not array.size else float(np.abs(array.astype(np.float64)).max())
            if largest > LARGEST:
                return f"a constant of it is {largest:g}, beyond float16"
        return ""

    def _type_of(self, value: ir.Value) -> ir.DataType | None:
        """The type a value has of itself: an image is as good in float16, a threshold is not."""
        if value.is_graph_input() and value.dtype == FLOAT and value.name != GATE_THRESHOLD_INPUT:
            return HALF
        return value.dtype

    def _retype_source(self, node: ir.Node, dtype: ir.DataType) -> None:
        """A node that makes floats of none: its attribute tells the type."""
        if node.op_type == "Cast":
            node.attributes["to"] = ir.AttrInt64("to", int(dtype))
        elif node.op_type == "ConstantOfShape":
            stored = node.attributes.get("value")
            array = np.zeros(1, np.float32) if stored is None else stored.as_tensor().numpy()
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(array.astype(dtype.numpy())))
        elif node.op_type == "Constant":
            held = constant(node.outputs[0])
            assert held is not None
            node.attributes.clear()
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(held.astype(dtype.numpy())))
        else:
            raise UnsupportedModel(f"node {node.name} ({node.op_type}) makes floats that the cast does not know")
