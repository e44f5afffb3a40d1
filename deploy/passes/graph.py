"""Questions about a graph, and changes of it, that several passes share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from adroit.deploy.operators.definitions import DOMAIN

# Where a node's module path is kept once the exporter's own metadata is gone.
MODULE_KEY = "adroit.module"


def is_operator(node: ir.Node | None, *names: str) -> bool:
    """Returns whether `node` is one of adroit's operators `names`."""
    return node is not None and node.domain == DOMAIN and node.op_type in names


def constant(value: ir.Value | None) -> NDArray[np.generic] | None:
    """The value's array where it is an initializer or a Constant node's output, else None.

    An initializer that is an input of the graph too is none: whoever runs the graph may give another.
    """
    if value is None or value.is_graph_input():
        return None
    producer = value.producer()
    if producer is not None and set(producer.attributes) & {"sparse_value", "value_string", "value_strings"}:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """The only node that reads `value`, where there is just one and it is not a graph output."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def only_source(value: ir.Value | None, node: ir.Node) -> ir.Node | None:
    """The node that makes `value` where it has no other result, and `node`, of the same graph, alone reads that.

    The body of a branch or a loop is a graph of its own: what one node outside made would be made there each time.
    """
    producer = None if value is None else value.producer()
    if value is None or producer is None or len(producer.outputs) != 1 or producer.graph is not node.graph:
        return None
    return producer if sole_consumer(value) is node else None


def replace_node(old: ir.Node, new: ir.Node) -> None:
    """Puts `new` (one output) in the place of `old` (one output kept) and moves the old value's users to it."""
    graph = old.graph
    assert graph is not None
    before, after = old.outputs[0], new.outputs[0]
    after.shape, after.type, after.name = before.shape, before.type, before.name
    graph.insert_before(old, new)
    before.replace_all_uses_with(after, replace_graph_outputs=True)
    graph.remove(old, safe=True)


def replace_pair(
    first: ir.Node, second: ir.Node, operator: str, inputs: Sequence[ir.Value | None], attributes: Iterable[ir.Attr]
) -> None:
    """Puts one node in the place of `second` and of `first`, whose only result only `second` reads.

    It is of `first`'s domain and has its name; its result is the second's, which belongs to the second's module.
    """
    fused = ir.Node(
        first.domain,
        operator,
        inputs,
        list(attributes),
        name=first.name,
        metadata_props=dict(second.metadata_props),
    )
    replace_node(second, fused)
    assert fused.graph is not None
    fused.graph.remove(first, safe=True)


def add_initializer(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    """Registers a constant of the graph under `name`, or one like it where that is taken by another array."""
    wanted, number = name, 1
    while name in graph.initializers:
        present = graph.initializers[name]
        if _is_constant_of(present, array):
            return present
        number += 1
        name = f"{wanted}_{number}"
    value = ir.Value(
        name=name,
        const_value=ir.tensor(array, name=name),
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
    )
    graph.register_initializer(value)
    return value


def _is_constant_of(value: ir.Value, array: NDArray[np.generic]) -> bool:
    """Whether it is this very array, as where a module is called twice and each call's norm is folded."""
    present = constant(value)
    if present is None or present.dtype != array.dtype or present.shape != array.shape:
        return False
    return present.tobytes() == array.tobytes()


def with_outputs(model: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
    """A copy that also gives out `tensors` (those of its inputs and outputs are there already)."""
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    present = {value.name for value in (*model.graph.input, *model.graph.output)}
    wider.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(set(tensors) - present))
    return wider
