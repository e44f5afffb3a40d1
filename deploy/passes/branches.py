"""Putting parts of a graph into the branches of If nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from adroit.deploy.passes.graph import MODULE_KEY, add_initializer


class Part(NamedTuple):
    """A branch, or a part of one: nodes that belong to no graph yet, and what they make."""

    nodes: list[ir.Node]
    values: tuple[ir.Value, ...]

    @property
    def value(self) -> ir.Value:
        """The value of a part that has only one."""
        (value,) = self.values
        return value

    def then(self, other: Part) -> Part:
        """Both parts' nodes; the results are those of `other`."""
        return Part(self.nodes + other.nodes, other.values)


class Branches:
    """Makes nodes of standard operators and moves nodes of `graph` into branches.

    Each new node carries a module path, so that it gets a name (deploy/passes/name_nodes.py).
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._constants: dict[tuple[str, bytes], ir.Value] = {}
        self._parents: dict[int, ir.Node] = {}
        # Conditions, shapes and finished Ifs: they stay in the main graph, since later branches read them too.
        self._staying: set[ir.Node] = set()

    # ---- single nodes ----

    def constant(self, array: np.ndarray) -> ir.Value:
        """Returns an initializer of the graph; equal arrays share one."""
        key = (str(array.dtype) + str(array.shape), array.tobytes())
        if key not in self._constants:
            self._constants[key] = add_initializer(self.graph, f"routing.constant_{len(self._constants)}", array)
        return self._constants[key]

    def node(
        self,
        operator: str,
        inputs: Sequence[ir.Value],
        module: str,
        attributes: Sequence[ir.Attr] = (),
        kind: ir.DataType | None = None,
        outputs: int = 1,
        domain: str = "",
    ) -> ir.Node:
        """A node of no graph. kind: element type of its outputs; the first input's if None."""
        node = ir.Node(domain, operator, inputs, attributes, num_outputs=outputs, metadata_props={MODULE_KEY: module})
        node.name = module
        for index, output in enumerate(node.outputs):
            output.name = f"{module}/{operator}_{id(node)}_{index}"
            output.type = ir.TensorType(kind) if kind else inputs[0].type
        return node

    def part(
        self,
        operator: str,
        inputs: Sequence[ir.Value],
        module: str,
        attributes: Sequence[ir.Attr] = (),
        kind: ir.DataType | None = None,
    ) -> Part:
        """Returns a part of one node."""
        node = self.node(operator, inputs, module, attributes, kind)
        return Part([node], tuple(node.outputs))

    def append(self, part: Part) -> tuple[ir.Value, ...]:
        """Puts a part into the main graph for good; returns its results."""
        self.graph.extend(part.nodes)
        self._staying.update(part.nodes)
        return part.values

    def outer(
        self,
        operator: str,
        inputs: Sequence[ir.Value],
        module: str,
        attributes: Sequence[ir.Attr] = (),
        kind: ir.DataType | None = None,
    ) -> ir.Value:
        """Adds one node to the main graph and returns its output."""
        (value,) = self.append(self.part(operator, inputs, module, attributes, kind))
        return value

    # ---- branches ----

    def same(self, value: ir.Value, module: str) -> Part:
        """A copy: a branch cannot hand on a value from outside."""
        return self.part("Identity", [value], module)

    def zeros(self, shape: ir.Value, kind: ir.DataType | None, module: str) -> Part:
        """Returns a part that gives zeros of a shape known only when the network runs."""
        return self.part("ConstantOfShape", [shape], module, kind=kind)

    def nothing(self, like: ir.Value, module: str) -> Part:
        """An empty map, for a value that nothing will read."""
        return self.zeros(self.constant(np.zeros(4, np.int64)), like.dtype, module)

    def copied(self, nodes: Sequence[ir.Node], result: ir.Value) -> Part:
        """Copies of `nodes`, reading each other where the originals do; `result` is one of theirs."""
        values: dict[ir.Value | None, ir.Value] = {}
        copies = []
        for node in nodes:
            inputs = [values.get(value, value) for value in node.inputs]
            copy = ir.Node(
                node.domain,
                node.op_type,
                inputs,
                node.attributes.values(),
                num_outputs=len(node.outputs),
                metadata_props=dict(node.metadata_props),
            )
            copy.name = node.name
            for old, new in zip(node.outputs, copy.outputs, strict=True):
                new.name, new.type, new.shape = f"{old.name}_{id(copy)}", old.type, old.shape
                values[old] = new
            copies.append(copy)
        return Part(copies, (values.get(result, result),))

    def branch(self, condition: ir.Value, then: Part, other: Part, module: str) -> Part:
        """An If."""
        graphs = []
        for name, part in (("then_branch", then), ("else_branch", other)):
            graph = ir.Graph([], part.values, nodes=part.nodes, name=f"{module}.{name}")
            graphs.append(ir.AttrGraph(name, graph))
        node = self.node("If", [condition], module, graphs, outputs=len(then.values))
        for output, value in zip(node.outputs, then.values, strict=True):
            output.type = value.type
        self._parents.update({id(attribute.as_graph()): node for attribute in graphs})
        return Part([node], tuple(node.outputs))

    # ---- moving nodes ----

    def cone(self, root: ir.Node) -> list[ir.Node]:
        """`root` and every node of the main graph whose results serve nothing else, each after what it reads."""
        found, work = {root}, [root]
        while work:
            for value in _read_by(work.pop()):
                producer = value.producer()
                if producer is None or producer.graph is not self.graph or producer in found | self._staying:
                    continue
                uses = [use.node for out in producer.outputs for use in out.uses()]
                shown = any(out.is_graph_output() for out in producer.outputs)
                if not shown and all(self._outermost(user) in found for user in uses):
                    found.add(producer)
                    work.append(producer)
        order: list[ir.Node] = []

        def place(node: ir.Node) -> None:
            found.discard(node)
            for value in _read_by(node):
                producer = value.producer()
                if producer in found:
                    place(producer)
            order.append(node)

        place(root)
        return order

    def _outermost(self, node: ir.Node) -> ir.Node:
        """The node of the main graph that `node` is or lies inside of."""
        while node.graph is not self.graph and node.graph is not None:
            node = self._parents[id(node.graph)]
        return node

    def take_out(self, nodes: Sequence[ir.Node]) -> list[ir.Node]:
        """Removes nodes from the main graph, so that a branch can hold them."""
        self.graph.remove(nodes)
        return list(nodes)

    def discard(self, nodes: Sequence[ir.Node]) -> None:
        """Lets go of nodes that are in no graph, and of what they read."""
        for node in nodes:
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)

    def discard_unused(self) -> None:
        """Removes what nothing needs any more from the main graph."""
        work = list(self.graph)
        while work:
            node = work.pop()
            used = any(out.uses() or out.is_graph_output() for out in node.outputs)
            if not used and node.graph is self.graph:
                work += [producer for v in node.inputs if v is not None and (producer := v.producer()) is not None]
                self.graph.remove(node, safe=True)

    def place_constants(self) -> None:
        """Gives each branch its own copy of the constants that it reads, large ones only if it alone does.

        ONNX Runtime lays a convolution out for the CPU's vectors only where weights and bias are
        constants of the convolution's own graph.
        """
        for value in list(self.graph.initializers.values()):
            array = None if value.const_value is None else value.const_value.numpy()
            homes = {id(use.node.graph): use.node.graph for use in value.uses()}
            inner = [home for home in homes.values() if home is not None and home is not self.graph]
            if array is None or not inner or (len(homes) > 1 and array.size > _SMALL):
                continue
            for number, home in enumerate(inner):
                copy = add_initializer(home, f"{value.name}.branch_{number}", array)
                redirect([use for use in value.uses() if use.node.graph is home], copy)
            if len(inner) == len(homes):
                del self.graph.initializers[value.name or ""]


# Elements of a constant that is cheap to have once more: a bias.
_SMALL = 4096


def redirect(uses: Iterable[Any], value: ir.Value) -> None:
    """Makes `value` the input of all these uses of another."""
    for use in list(uses):
        use.node.replace_input_with(use.idx, value)


def _read_by(node: ir.Node) -> Iterable[ir.Value]:
    """Values that a node reads, in its branches too."""
    yield from (v for v in node.inputs if v is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph():
                yield from _read_by(inner)
            yield from (v for v in attribute.as_graph().outputs)
