"""A routed network that computes only what its gates open: If nodes in place of products with zero.

The masked graph computes every path and multiplies it by its gate. Here
- a node that only a closed node's map reaches passes it on (an If on "busy"), and one that nothing
  reaches runs neither its sum nor its gate (an If on "live");
- a node's cell runs where any sample has an open path there (an If on "open");
- a path runs where any sample's gate of it is above 0, together with the addition that takes it in,
  so that a closed path's term vanishes from the sum (an If a path);
- the head decodes a scale where something reaches it for any sample (an If a scale above the first).

Sums keep their terms and a skipped term is exactly zero, so the results are those of the masked graph.
Passing a map on costs a copy, since a branch cannot hand on a value from outside: 26 microseconds for the
largest of a width-16 network at 256 x 512, where an If alone took 0.7 to 1.6 (ONNX Runtime, one thread).
So where several Ifs could say the same, the form with fewer copies is built.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from adroit.deploy.passes.branches import Branches, Part, redirect
from adroit.deploy.passes.graph import MODULE_KEY
from adroit.deploy.passes.layer_decisions import LayerDecisions, decide_layer
from adroit.models.routing.space import INIT, SCALES, Node, Path, RoutingSpace

PREFIX, HEAD = "backbone", "sem_seg_head"


def module_of(node: ir.Node) -> str:
    """Returns the path of the module that a node comes from; empty where it has none."""
    return node.metadata_props.get(MODULE_KEY, "")


def node_prefix(at: Node) -> str:
    """Module path of a node of the routing space."""
    return f"{PREFIX}.init_layer" if at == INIT else f"{PREFIX}.all_cell_list.{at.name}"


@dataclass
class _Anchors:
    """The values and nodes of one routed node that the pass needs.

    Attributes:
        gate: the RoutingGate.
        weighed: by kind of path, the product of what it delivers with its gate.
        keep: makes what the keep path delivers.
        entering: X, what the node receives, at this point of the rewriting.
        keep_nodes, product_nodes: what `keep`, and the keep path's product alone, needs and nothing else does.
    """

    gate: ir.Node
    weighed: dict[str, ir.Node]
    keep: ir.Node
    entering: ir.Value
    keep_nodes: list[ir.Node] = field(default_factory=list)
    product_nodes: list[ir.Node] = field(default_factory=list)


@dataclass(frozen=True)
class _Shapes:
    """Run-time shapes: `maps` by scale, [N,C,h,w]; `gates` by number of paths, [N,P]."""

    maps: dict[int, ir.Value]
    gates: dict[int, ir.Value]


def branch_on_gates(graph: ir.Graph, space: RoutingSpace, gates_output: str) -> int:
    """Rewrites a masked graph in place; returns the number of If nodes.

    Args:
        graph: nodes carry their module paths (name_nodes.keep_module_paths).
        space: the network's routing space; it must have gates.
        gates_output: name of the graph output that holds all gates.
    """
    build = Branches(graph)
    anchors_of = {at: _anchors(graph, at) for at in space.nodes}
    rewriting = _Rewriting(build, space, anchors_of, _shapes(build, space, anchors_of[INIT].entering))
    layers = [rewriting.layer(number) for number in range(-1, space.depth)]
    for scale in range(SCALES):
        rewriting.deliver_to_head(Node(space.depth - 1, scale))
    for scale in reversed(range(1, SCALES)):
        rewriting.decode(Node(space.depth - 1, scale), reached=layers[-2])
    gates = build.outer("Concat", [layer.gates for layer in layers], PREFIX, [ir.AttrInt64("axis", 1)])
    _replace_output(graph, gates_output, gates)
    build.discard([node for anchors in anchors_of.values() for node in anchors.keep_nodes])
    build.discard_unused()
    build.place_constants()
    graph.sort()
    return sum(node.op_type == "If" for node in graph.all_nodes())


def _anchors(graph: ir.Graph, at: Node) -> _Anchors:
    prefix = node_prefix(at)
    own = [n for n in graph if module_of(n).startswith(prefix + ".")]
    (gate,) = [n for n in own if n.op_type == "RoutingGate"]
    (keep,) = [n for n in own if module_of(n) == f"{prefix}.pass_closed" and n.op_type == "Where"]
    start = f"{prefix}.weigh."
    weighed = {module_of(n)[len(start) :]: n for n in own if module_of(n).startswith(start) and n.op_type == "Mul"}
    entering = gate.inputs[0]
    assert entering is not None
    return _Anchors(gate, weighed, keep, entering)


def _shapes(build: Branches, space: RoutingSpace, stem: ir.Value) -> _Shapes:
    """From the stem's output, [N,C,H/4,W/4]."""
    module, integer = f"{PREFIX}.zeros", ir.DataType.INT64
    shape = build.outer("Shape", [stem], module, kind=integer)
    maps = {}
    for scale in range(SCALES):
        factor = np.array([1, space.channels(0), 1 << scale, 1 << scale], np.int64)
        channels = np.array([1, space.channels(scale), 1, 1], np.int64)
        divided = build.outer("Div", [shape, build.constant(factor)], module)
        maps[scale] = build.outer("Mul", [divided, build.constant(channels)], module)
    first = [ir.AttrInt64("start", 0), ir.AttrInt64("end", 1)]
    batch = build.outer("Shape", [stem], module, first, integer)
    join = [ir.AttrInt64("axis", 0)]
    counts = {len(space.kinds(at)) for at in space.nodes}
    numbers = {count: build.constant(np.array([count], np.int64)) for count in sorted(counts)}
    return _Shapes(maps, {n: build.outer("Concat", [batch, number], module, join) for n, number in numbers.items()})


def _gate_input(product: ir.Node) -> int:
    """Returns the index of the gate, a slice of the node's gates, among the inputs of a path's product."""
    producers = [None if value is None else value.producer() for value in product.inputs]
    (index,) = [i for i, producer in enumerate(producers) if producer and producer.op_type == "Slice"]
    return index


def _replace_output(graph: ir.Graph, name: str, value: ir.Value) -> None:
    (old,) = [output for output in graph.outputs if output.name == name]
    value.shape, value.type = old.shape, old.type
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    old.name, value.name = f"{name}.masked", name


class _Rewriting:
    """The rewriting of one graph, layer by layer."""

    def __init__(self, build: Branches, space: RoutingSpace, anchors_of: dict[Node, _Anchors], shapes: _Shapes) -> None:
        self.build, self.space, self.anchors_of, self.shapes = build, space, anchors_of, shapes
        self.before: LayerDecisions | None = None

    def layer(self, number: int) -> LayerDecisions:
        """Rewrites the nodes of a layer; the layer before is done."""
        nodes = [at for at in self.space.nodes if at.layer == number]
        raw = [self.anchors_of[at].gate.outputs[0] if at == INIT else self._node(at) for at in nodes]
        module = node_prefix(nodes[0]).rsplit(".", 1)[0] if number >= 0 else node_prefix(INIT)
        live = self._all_live() if self.before is None else self.before.live
        done = decide_layer(self.build, self.space, nodes, raw, live, module)
        for column, at in enumerate(nodes):
            self._use_decisions(at, done, column)
            self._cell(at, done)
            anchors = self.anchors_of[at]
            anchors.product_nodes = self.build.cone(anchors.weighed["keep"])
            anchors.keep_nodes = self.build.take_out(self.build.cone(anchors.keep))
        self.before = done
        return done

    def _all_live(self) -> ir.Value:
        """[N,1]: the init node gets the stem's output, whatever the image."""
        one = ir.AttrTensor("value", ir.tensor(np.ones(1, np.float32)))
        shape = self.shapes.gates[1]
        return self.build.outer("ConstantOfShape", [shape], node_prefix(INIT), [one], ir.DataType.FLOAT)

    # ---- what decisions apply to ----

    def _use_decisions(self, at: Node, done: LayerDecisions, column: int) -> None:
        """Gates and the choice of a closed node read the layer's decisions, inside of the branches that need them."""
        anchors, module = self.anchors_of[at], node_prefix(at)
        for kind, product in anchors.weighed.items():
            gate = self._column(done.gates, done.columns[Path(at, kind)], module)
            product.replace_input_with(_gate_input(product), gate)
        anchors.keep.replace_input_with(0, self._decided(done.opened, column, module))

    def _decided(self, states: ir.Value, index: int, module: str) -> ir.Value:
        """states [N,columns] of 1 and 0 to [N,1,1,1] bool."""
        state = self._column(states, index, module)
        decided = self.build.node("Cast", [state], module, [ir.AttrInt64("to", ir.DataType.BOOL)], ir.DataType.BOOL)
        self.build.graph.append(decided)
        return decided.outputs[0]

    def _column(self, values: ir.Value, index: int, module: str) -> ir.Value:
        """values [N,columns] to [N,1,1,1]."""
        build = self.build
        start, end, axis = (build.constant(np.array([n], np.int64)) for n in (index, index + 1, 1))
        one = build.node("Slice", [values, start, end, axis], module)
        shaped = build.node("Unsqueeze", [one.outputs[0], build.constant(np.array([2, 3], np.int64))], module)
        build.graph.extend([one, shaped])
        return shaped.outputs[0]

    def _cell(self, at: Node, done: LayerDecisions) -> None:
        """The cell, with the ReLU that all paths begin with, runs where any sample's node is open."""
        build, prefix = self.build, node_prefix(at)
        nodes = [n for n in build.graph if module_of(n).startswith((f"{prefix}.cell_ops.", f"{prefix}.res_keep"))]
        (result,) = {out for n in nodes for out in n.outputs if any(use.node not in nodes for use in out.uses())}
        users = [use for use in result.uses() if use.node not in nodes]
        module = f"{prefix}.cell_ops"
        cell = Part(build.take_out(nodes), (result,))
        (value,) = build.append(build.branch(done.open_any[at], cell, build.nothing(result, module), module))
        redirect(users, value)

    # ---- a node: its sum and its gate ----

    def _node(self, at: Node) -> ir.Value:
        """Adds the sum that enters a node, and its gate; returns the gates. Where nothing reaches it neither runs."""
        build, anchors = self.build, self.anchors_of[at]
        decisions = self.before
        assert decisions is not None
        gate, entering = anchors.gate, anchors.entering
        module, users = module_of(gate), [use for use in entering.uses() if use.node is not gate]
        moving, resting = self._sum(at), self._keep_path(at, closed=True)
        if at.scale == 0:
            # Always reached: the keep paths carry the stem's map, through closed nodes too.
            join = f"{node_prefix(at)}.join"
            (anchors.entering,) = build.append(build.branch(decisions.busy_any[at], moving, resting, join))
            gate.replace_input_with(0, anchors.entering)
            redirect(users, anchors.entering)
            return gate.outputs[0]
        build.take_out([gate])
        zeros = build.zeros(self.shapes.maps[at.scale], entering.dtype, module)
        closed = build.zeros(self.shapes.gates[len(self.space.kinds(at))], gate.outputs[0].dtype, module)
        absent = Part(zeros.nodes + closed.nodes, zeros.values + closed.values)
        waiting = build.branch(decisions.live_any[at], self._gated(gate, resting), absent, module)
        both = build.branch(decisions.busy_any[at], self._gated(gate, moving), waiting, module)
        build.discard([gate])
        anchors.entering, raw = build.append(both)
        redirect(users, anchors.entering)
        return raw

    def _gated(self, gate: ir.Node, total: Part) -> Part:
        """A sum and its gates."""
        copy = self.build.copied([gate], gate.outputs[0])
        copy.nodes[0].replace_input_with(0, total.value)
        return Part([*total.nodes, *copy.nodes], (total.value, copy.value))

    def _sum(self, at: Node) -> Part:
        """Adds the sum of what enters a node that more than a closed node's map reaches, without closed paths."""
        build, module, decisions = self.build, f"{node_prefix(at)}.join", self.before
        assert decisions is not None
        # Where nothing else arrives the kept map itself is the sum: an If after it would copy it.
        alone = self._keep_path(at)
        others = [path for path in self.space.arriving(at) if path.kind != "keep"]
        if not others:
            return alone
        total = self._keep_path(at)
        for path in others:
            root = self.anchors_of[path.node].weighed[path.kind]
            term = Part(build.take_out(build.cone(root)), (root.outputs[0],))
            added = term.then(build.part("Add", [total.value, term.value], module))
            if len(others) > 1:
                added = build.branch(decisions.path_open[path], added, build.same(total.value, module), module)
            total = total.then(added)
        arriving = [decisions.path_open[path] for path in others]
        either = build.part("Or", arriving, module) if len(arriving) > 1 else Part([], (arriving[0],))
        return either.then(build.branch(either.value, total, alone, module))

    def _keep_path(self, at: Node, closed: bool = False) -> Part:
        """Adds what the keep path brings to a node; zeros where there is none.

        closed: whether the path's node is closed.
        """
        for path in self.space.arriving(at):
            if path.kind == "keep":
                entering = self.anchors_of[path.node].entering
                return self.build.same(entering, f"{node_prefix(at)}.join") if closed else self._delivered(path.node)
        return self.build.zeros(self.shapes.maps[at.scale], ir.DataType.FLOAT, f"{node_prefix(at)}.join")

    def _delivered(self, at: Node) -> Part:
        """By the keep path of a node of the layer before: what it computed, or its input where it is closed."""
        build, source, decisions = self.build, self.anchors_of[at], self.before
        assert decisions is not None
        module, product = module_of(source.keep), source.weighed["keep"].outputs[0]
        mixed = build.copied(source.keep_nodes, source.keep.outputs[0])
        whole = build.copied(source.product_nodes, product)
        computed = build.branch(decisions.closed_any[at], mixed, whole, module)
        return build.branch(decisions.open_any[at], computed, build.same(source.entering, module), module)

    def deliver_to_head(self, at: Node) -> None:
        users = list(self.anchors_of[at].keep.outputs[0].uses())
        redirect(users, self.build.append(self._delivered(at))[0])

    def decode(self, at: Node, reached: LayerDecisions) -> None:
        """The head's way from a map of the last layer to the sum with the next shallower one.

        reached: decisions of the layer before the last, which say whether something reaches the node.
        """
        build, module = self.build, f"{HEAD}.add_list.{at.scale - 1}"
        (add,) = [node for node in build.graph if module_of(node) == module and node.op_type == "Add"]
        deeper, shallower = add.inputs
        chosen = deeper.producer() if deeper else None
        assert chosen is not None and chosen.op_type == "Where" and shallower is not None
        chosen.replace_input_with(0, self._decided(reached.live, at.scale, module))
        users = list(add.outputs[0].uses())
        total = Part(build.take_out(build.cone(add)), (add.outputs[0],))
        decoded = build.branch(reached.live_any[at], total, build.same(shallower, module), module)
        (value,) = build.append(decoded)
        redirect(users, value)
