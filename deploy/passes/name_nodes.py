"""Names nodes and values after the modules that they come from, and drops all else that is noted of them.

The exporter's own metadata holds file paths and line numbers of the machine it ran on, which would
make the same network export to different bytes.
"""

from __future__ import annotations

import ast
from collections import Counter

import onnx_ir as ir

from adroit.deploy.passes.graph import MODULE_KEY

_SCOPES = "pkg.torch.onnx.name_scopes"
# What the exporter calls the place of arithmetic on sizes, which no module does.
_NO_MODULE = "_empty_nn_module_stack_from_metadata_hook"


def keep_module_paths(graph: ir.Graph) -> int:
    """Names each node after its module and leaves MODULE_KEY as its only metadata."""
    count = 0
    for node in graph.all_nodes():
        # The scopes run from the whole network ('') through its modules to the node's own name.
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "['']"))
        module = scopes[-2] if len(scopes) > 1 and scopes[-2] != _NO_MODULE else ""
        node.metadata_props.clear()
        node.doc_string = None
        if module:
            node.metadata_props[MODULE_KEY] = node.name = module
            count += 1
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()
    return count


def name_values(graph: ir.Graph) -> int:
    """The node that ends a module and the value it makes get the module's path, others that and their operator's name.

    Run it after the fusing passes: a fused node keeps its first module's name (where the weights
    are), and its output the last module's (whose result it is).
    """
    nodes = list(graph.all_nodes())
    places = _places(nodes)
    ends: dict[str, ir.Node] = {}
    for node in (*nodes, *graph):  # a module whose result leaves a branch: the node outside ends it
        if not _is_size(node):
            ends |= dict.fromkeys(places[node], node)
    outputs = {value for value in graph.outputs}
    used: Counter[str] = Counter(v.name or "" for v in (*graph.inputs, *graph.initializers.values(), *outputs))
    # What a branch or a loop's body takes in or holds is called otherwise than anything outside that it may read.
    for inner in graph.subgraphs():
        for value in (*inner.inputs, *list(inner.initializers.values())):
            value.name = _unique(value.name or "value", used, "")
    for node in nodes:
        first, last = places[node]
        within = f"{first}/{node.op_type}" if first else node.op_type
        node.name = _unique(first if first and ends.get(first) is node else within, used, "node:")
        for value in node.outputs:
            if value not in outputs:
                wanted = last if last and ends.get(last) is node else f"{last or 'graph'}/{node.op_type}"
                value.name = _unique(wanted, used, "")
    return len(used)


def _places(nodes: list[ir.Node]) -> dict[ir.Node, tuple[str, str]]:
    """The first and the last module that each node belongs to; ("", "") for the network's own last nodes.

    Arithmetic on sizes belongs to no module: it counts to the module that needs it.
    """
    places: dict[ir.Node, tuple[str, str]] = {}
    for node in reversed(nodes):
        module = node.metadata_props.get(MODULE_KEY, "")
        users = [use.node for value in node.outputs for use in value.uses() if use.node in places]
        inherited = places[users[0]][0] if users else ""
        places[node] = (node.name or module, module) if module else (inherited, inherited)
    return places


def _is_size(node: ir.Node) -> bool:
    """Whether the node may be arithmetic on sizes, which is no module's result, whatever module it was traced in."""
    return node.outputs[0].dtype == ir.DataType.INT64


def _unique(wanted: str, used: Counter[str], kind: str) -> str:
    """`wanted`, or with a number behind it where that is taken; nodes and values have separate names."""
    name, number = wanted, 1
    while used[kind + name]:
        number += 1
        name = f"{wanted}_{number}"
    used[kind + name] += 1
    return name
