"""A routed network that computes only what its gates open: If nodes in place of products with zero.

The masked graph computes every path and multiplies it by its gate. Here
- what a path alone needs moves into the branch of an If on "any sample's gate is above 0", together
  with the addition that takes the path in, so that a closed path's term vanishes from the sum;
- a node's cell moves into an If on "any sample has an open path"; a node that is closed for all
  samples passes its input on.

Sums keep their order and a skipped term is exactly zero, so the results are those of the masked graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from deploy.passes.graph import MODULE_KEY, add_initializer
from models.routing.space import INIT, Node, RoutingSpace

PREFIX = "backbone"


def module_of(node: ir.Node) -> str:
    return node.metadata_props.get(MODULE_KEY, "")


def node_prefix(at: Node) -> str:
    """Module path of a node of the routing space."""
    return f"{PREFIX}.init_layer" if at == INIT else f"{PREFIX}.all_cell_list.{at.name}"


@dataclass
class _Anchors:
    """What the pass needs of one routed node in the graph.

    Attributes:
        gate: the RoutingGate. gates: [N,P,1,1], 0 where closed. kept: makes what the keep path delivers.
        weighed: products of the up and down path with their gates, by kind.
        alive: scalar bool by kind: some sample's path is open. open_any, closed_any: some sample's node is.
    """

    gate: ir.Node
    gates: ir.Value
    kept: ir.Node
    weighed: dict[str, ir.Node]
    alive: dict[str, ir.Value] = field(default_factory=dict)
    open_any: ir.Value | None = None
    closed_any: ir.Value | None = None

    @property
    def entering(self) -> ir.Value:
        """X: what the node receives, at this point of the rewriting."""
        value = self.gate.inputs[0]
        assert value is not None
        return value


class _Builder:
    """Makes nodes of standard operators, each with a module path so that it gets a name."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._constants: dict[tuple[str, bytes], ir.Value] = {}
        self._parents: dict[int, ir.Node] = {}
        # Conditions and shapes: they stay in the main graph, since later branches read them too.
        self._staying: set[ir.Node] = set()

    def constant(self, array: np.ndarray) -> ir.Value:
        key = (str(array.dtype) + str(array.shape), array.tobytes())
        if key not in self._constants:
            self._constants[key] = add_initializer(self.graph, f"routing.constant_{len(self._constants)}", array)
        return self._constants[key]

    def node(
        self,
        operator: str,
        inputs: Sequence[ir.Value | None],
        module: str,
        attributes: Sequence[ir.Attr] = (),
        kind: ir.DataType | None = None,
        shape: ir.Shape | None = None,
    ) -> ir.Node:
        made = ir.Node("", operator, inputs, attributes, num_outputs=1, metadata_props={MODULE_KEY: module})
        made.name = module
        output = made.outputs[0]
        output.name = f"{module}/{operator}_{id(made)}"
        output.type = ir.TensorType(kind) if kind else (inputs[0].type if inputs and inputs[0] else None)
        output.shape = shape
        return made

    def outer(self, operator: str, inputs: Sequence[ir.Value | None], module: str, **more: object) -> ir.Value:
        made = self.node(operator, inputs, module, **more)  # type: ignore[arg-type]
        self.graph.append(made)
        self._staying.add(made)
        return made.outputs[0]

    def branch(
        self,
        condition: ir.Value,
        then: tuple[Sequence[ir.Node], ir.Value],
        other: tuple[Sequence[ir.Node], ir.Value],
        module: str,
    ) -> ir.Node:
        """An If; each branch is its nodes, which belong to no graph, and its result."""
        graphs = []
        for name, (nodes, result) in (("then_branch", then), ("else_branch", other)):
            graphs.append(ir.AttrGraph(name, ir.Graph([], [result], nodes=nodes, name=f"{module}.{name}")))
        made = self.node("If", [condition], module, graphs)
        made.outputs[0].type = then[1].type
        self._parents.update({id(attribute.as_graph()): made for attribute in graphs})
        return made

    def outermost(self, node: ir.Node) -> ir.Node:
        """The node of the main graph that `node` is or lies inside of."""
        while node.graph is not self.graph:
            node = self._parents[id(node.graph)]
        return node

    def cone(self, root: ir.Node) -> list[ir.Node]:
        """`root` and every node of the main graph whose results serve nothing else, in graph order."""
        found, work = {root}, [root]
        while work:
            for value in _read_by(work.pop()):
                producer = value.producer()
                if producer is None or producer.graph is not self.graph or producer in found | self._staying:
                    continue
                uses = [use.node for out in producer.outputs for use in out.uses()]
                shown = any(out.is_graph_output() for out in producer.outputs)
                if not shown and all(self.outermost(user) in found for user in uses):
                    found.add(producer)
                    work.append(producer)
        return [node for node in self.graph if node in found]

    def place_weights(self) -> None:
        """Moves each constant that one branch alone reads into it.

        ONNX Runtime lays convolutions out for the CPU's vectors only where it finds their weights in
        the same graph as the convolution.
        """
        for value in list(self.graph.initializers.values()):
            homes = {id(use.node.graph): use.node.graph for use in value.uses()}
            (home, *others) = homes.values() or [self.graph]
            if not others and home is not None and home is not self.graph and value.const_value is not None:
                moved = add_initializer(home, f"{value.name}.branch", value.const_value.numpy())
                _redirect(list(value.uses()), moved)
                del self.graph.initializers[value.name or ""]

    def take_out(self, nodes: Sequence[ir.Node]) -> list[ir.Node]:
        """Removes nodes from the main graph, so that a branch can hold them."""
        self.graph.remove(nodes)
        return list(nodes)


def branch_on_gates(graph: ir.Graph, space: RoutingSpace) -> int:
    """Rewrites a masked graph in place; returns the number of If nodes.

    Args:
        graph: nodes carry their module paths (name_nodes.keep_module_paths).
        space: the network's routing space; it must have gates.
    """
    build = _Builder(graph)
    found = {at: _anchors(graph, at) for at in space.nodes}
    for at, anchors in found.items():
        _conditions(build, space, at, anchors)
    kept = {at: _branch_keep(build, at, anchors) for at, anchors in found.items()}
    zeros = _zeros(build, space, found[INIT].entering)
    for at in space.nodes:
        if at != INIT:
            _branch_sum(build, space, at, found, kept, zeros)
    for at, anchors in found.items():
        _branch_cell(build, at, anchors)
    build.place_weights()
    graph.sort()
    return sum(node.op_type == "If" for node in graph.all_nodes())


def _anchors(graph: ir.Graph, at: Node) -> _Anchors:
    prefix = node_prefix(at)
    own = [n for n in graph if module_of(n).startswith(prefix + ".")]
    (gate,) = [n for n in own if n.op_type == "RoutingGate"]
    decided = [n for n in own if module_of(n) == f"{prefix}.decide"]
    (kept,) = [n for n in own if module_of(n) == f"{prefix}.pass_closed" and n.op_type == "Where"]
    weighed = {
        kind: next(n for n in own if module_of(n) == f"{prefix}.weigh.{kind}" and n.op_type == "Mul")
        for kind in ("up", "down")
        if any(module_of(n) == f"{prefix}.weigh.{kind}" for n in own)
    }
    gates = decided[-1].outputs[0] if decided[-1].op_type == "Where" else None
    assert gates is not None
    return _Anchors(gate, gates, kept, weighed)


def _conditions(build: _Builder, space: RoutingSpace, at: Node, anchors: _Anchors) -> None:
    """Scalars: which paths some sample opens, whether some sample's node is open, and whether one is closed."""
    module = f"{node_prefix(at)}.branch"
    zero = build.constant(np.array(0.0, np.float32))
    scalar = [ir.AttrInt64("keepdims", 0)]
    samples, paths = (build.constant(np.array(axes, np.int64)) for axes in ([0, 2, 3], [1]))
    largest = build.outer("ReduceMax", [anchors.gates, samples], module, attributes=scalar)
    alive = build.outer("Greater", [largest, zero], module, kind=ir.DataType.BOOL)
    for index, kind in enumerate(space.kinds(at)):
        anchors.alive[kind] = build.outer("Gather", [alive, build.constant(np.array(index, np.int64))], module)
    most = build.outer("ReduceMax", [largest], module, attributes=scalar)
    anchors.open_any = build.outer("Greater", [most, zero], module, kind=ir.DataType.BOOL)
    of_sample = build.outer("ReduceMax", [anchors.gates, paths], module)
    least = build.outer("ReduceMin", [of_sample], module, attributes=scalar)
    open_all = build.outer("Greater", [least, zero], module, kind=ir.DataType.BOOL)
    anchors.closed_any = build.outer("Not", [open_all], module, kind=ir.DataType.BOOL)


def _read_by(node: ir.Node) -> Iterable[ir.Value]:
    """Values that a node reads, in its branches too."""
    yield from (v for v in node.inputs if v is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph():
                yield from _read_by(inner)
            yield from (v for v in attribute.as_graph().outputs)


def _redirect(uses: Iterable[Any], value: ir.Value) -> None:
    for use in uses:
        use.node.replace_input_with(use.idx, value)


def _branch_keep(build: _Builder, at: Node, anchors: _Anchors) -> ir.Node:
    """What the keep path delivers: computed if any sample's node is open, else the input."""
    root = anchors.kept
    result = root.outputs[0]
    module = module_of(root)
    users = list(result.uses())
    nodes = build.take_out(build.cone(root))
    same = build.node("Identity", [anchors.entering], module)
    assert anchors.open_any is not None
    made = build.branch(anchors.open_any, (nodes, result), ([same], same.outputs[0]), module)
    build.graph.append(made)
    _redirect(users, made.outputs[0])
    made.outputs[0].shape = result.shape
    return made


def _zeros(build: _Builder, space: RoutingSpace, stem: ir.Value) -> dict[int, ir.Value]:
    """The shape of each scale's map, [N,C,h,w], from the stem's output."""
    module = f"{PREFIX}.zeros"
    shape = build.outer("Shape", [stem], module, kind=ir.DataType.INT64)
    shapes = {}
    for scale in range(4):
        factor = np.array([1, space.channels(0), 1 << scale, 1 << scale], np.int64)
        channels = np.array([1, space.channels(scale), 1, 1], np.int64)
        divided = build.outer("Div", [shape, build.constant(factor)], module)
        shapes[scale] = build.outer("Mul", [divided, build.constant(channels)], module)
    return shapes


def _branch_sum(
    build: _Builder,
    space: RoutingSpace,
    at: Node,
    found: dict[Node, _Anchors],
    kept: dict[Node, ir.Node],
    shapes: dict[int, ir.Value],
) -> None:
    """The sum that enters a node, term by term; each term is computed and added only where it is there."""
    total: ir.Value | None = None
    present: ir.Value | None = None
    end = found[at].entering
    joins = [n for n in build.graph if module_of(n).startswith(f"{node_prefix(at)}.join.")]
    users = list(end.uses())
    for path in space.arriving(at):
        source = found[path.node]
        root = kept[path.node] if path.kind == "keep" else source.weighed[path.kind]
        module = module_of(root) + ".branch"
        here = source.alive[path.kind]
        if path.kind == "keep":
            assert source.closed_any is not None
            here = build.outer("Or", [here, source.closed_any], module, kind=ir.DataType.BOOL)
        term = root.outputs[0]
        shape = term.shape
        nodes = build.take_out(build.cone(root))
        if total is None or present is None:
            zeros = build.node("ConstantOfShape", [shapes[at.scale]], module, kind=term.dtype)
            made = build.branch(here, (nodes, term), ([zeros], zeros.outputs[0]), module)
            present = here
        else:
            inner = _added(build, present, total, term, module)
            same = build.node("Identity", [total], module)
            made = build.branch(here, ([*nodes, inner], inner.outputs[0]), ([same], same.outputs[0]), module)
            present = build.outer("Or", [present, here], module, kind=ir.DataType.BOOL)
        build.graph.append(made)
        total = made.outputs[0]
        total.shape = shape
    assert total is not None
    _redirect(users, total)
    if joins:
        build.graph.remove(joins, safe=True)


def _added(build: _Builder, present: ir.Value, total: ir.Value, term: ir.Value, module: str) -> ir.Node:
    """The sum where something arrived before, else the term itself."""
    add = build.node("Add", [total, term], module)
    same = build.node("Identity", [term], module)
    return build.branch(present, ([add], add.outputs[0]), ([same], same.outputs[0]), module)


def _branch_cell(build: _Builder, at: Node, anchors: _Anchors) -> None:
    """What several paths of the node need (the cell) runs where any of them does."""
    prefix = node_prefix(at)
    parts = (f"{prefix}.cell_ops.", f"{prefix}.res_")
    nodes = [n for n in build.graph if module_of(n).startswith(parts) and n.op_type != "If"]
    if not nodes:
        return
    results = {out for n in nodes for out in n.outputs if any(build.outermost(u.node) not in nodes for u in out.uses())}
    (result,) = results
    users = [u for u in result.uses() if build.outermost(u.node) not in nodes]
    module = f"{prefix}.cell_ops"
    nothing = build.node(
        "ConstantOfShape",
        [build.constant(np.zeros(4, np.int64))],
        module,
        kind=result.dtype,
        shape=ir.Shape([0, 0, 0, 0]),
    )
    assert anchors.open_any is not None
    made = build.branch(anchors.open_any, (build.take_out(nodes), result), ([nothing], nothing.outputs[0]), module)
    build.graph.append(made)
    _redirect(users, made.outputs[0])
