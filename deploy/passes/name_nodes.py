"""Nodes and values are named after the modules they come from, and nothing else is told of them.

The exporter's own metadata holds file paths and line numbers of the machine it ran on, which would
make the same network export to different bytes.
"""

from __future__ import annotations

import ast
from collections import Counter

import onnx_ir as ir

from deploy.passes.graph import MODULE_KEY

_SCOPES = "pkg.torch.onnx.name_scopes"


def keep_module_paths(graph: ir.Graph) -> int:
    """Names each node after its module and leaves MODULE_KEY as its only metadata."""
    count = 0
    for node in graph.all_nodes():
        # The scopes run from the whole network ('') through its modules to the node's own name.
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "['']"))
        module = scopes[-2] if len(scopes) > 1 else ""
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
    """The value that a module's last node makes gets the module's path; every other node and value a unique name.

    Run it after the fusing passes: a fused node keeps its first module's name (where the weights
    are), and its output the last module's (whose result it is).
    """
    nodes = list(graph.all_nodes())
    last = {node.metadata_props.get(MODULE_KEY, ""): node for node in nodes}
    # A module whose result leaves a branch: the node outside names it.
    last |= {node.metadata_props.get(MODULE_KEY, ""): node for node in graph}
    outputs = {value for value in graph.outputs}
    used: Counter[str] = Counter(v.name or "" for v in (*graph.inputs, *graph.initializers.values(), *outputs))
    for node in nodes:
        module = node.metadata_props.get(MODULE_KEY, "")
        node.name = _unique(node.name if module and node.name else node.op_type, used, "node:")
        for value in node.outputs:
            if value in outputs:
                continue
            wanted = module if module and last[module] is node else f"{module or 'graph'}/{node.op_type}"
            value.name = _unique(wanted, used, "")
    return len(used)


def _unique(wanted: str, used: Counter[str], kind: str) -> str:
    """`wanted`, or with a number behind it where that is taken; nodes and values have separate names."""
    name, number = wanted, 1
    while used[kind + name]:
        number += 1
        name = f"{wanted}_{number}"
    used[kind + name] += 1
    return name
