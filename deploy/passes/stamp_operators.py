"""Custom nodes carry what TensorRT's parser looks for, and their portable bodies come with the model.

A node with `plugin_namespace` is a plugin to TensorRT even where a function of its name exists, and
`plugin_version` must be the registered one; ONNX Runtime prefers a registered operator and falls
back to the function. So one file serves all of them.
"""

from __future__ import annotations

import onnx_ir as ir

from adroit.deploy.operators.definitions import DOMAIN, operators
from adroit.deploy.passes.flat_bodies import flat_body


def stamp_operators(model: ir.Model) -> int:
    """Adds plugin_namespace and plugin_version to every custom node and the bodies to the model."""
    count = 0
    needed: set[str] = set()
    for node in model.graph.all_nodes():
        if node.domain != DOMAIN:
            continue
        node.attributes["plugin_namespace"] = ir.AttrString("plugin_namespace", DOMAIN)
        node.attributes["plugin_version"] = ir.AttrString("plugin_version", str(operators()[node.op_type].version))
        needed.add(node.op_type)
        count += 1
    for name in sorted(needed):
        function = ir.serde.deserialize_function(flat_body(name))
        model.functions[function.identifier()] = function
    return count
