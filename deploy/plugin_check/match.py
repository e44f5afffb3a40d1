"""Matches the custom nodes of a model with the operators of a library, and says why the others have none.

TensorRT's parser looks for a node's operator by name, `plugin_version` and `plugin_namespace` (attributes of
the node; "1" and "" where they are not there), and hands over the attributes that the creator lists. A miss is
silent where the model carries a function of that name: the function is built in the plugin's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.plugin_check.library_file import PluginOperator
from adroit.deploy.runtimes.tensorrt.near_miss import Triple, near_miss

if TYPE_CHECKING:
    import onnx

    from adroit.deploy.onnx_file.onnx_file_pb2 import ModelProto

_STANDARD = ("", "ai.onnx", "ai.onnx.ml")
_STAMPS = {"plugin_version": "1", "plugin_namespace": ""}


@dataclass(frozen=True)
class RequiredOperator:
    """The nodes of a model that need the same operator.

    `reason` is why the library does not serve them, empty where it does.
    """

    name: str
    version: str
    namespace: str
    nodes: int
    reason: str


def match(model: onnx.ModelProto | ModelProto, operators: Sequence[PluginOperator]) -> list[RequiredOperator]:
    """Returns every operator that the model's custom nodes need, in order of first use."""
    counts: dict[Triple, int] = {}
    attributes: dict[Triple, set[str]] = {}
    for node in all_nodes(model.graph):
        if node.domain in _STANDARD:
            continue
        stamps = {a.name: a.s.decode("utf-8", "replace") for a in node.attribute if a.name in _STAMPS}
        key = (node.op_type, *({**_STAMPS, **stamps}[name] for name in _STAMPS))
        counts[key] = counts.get(key, 0) + 1
        attributes.setdefault(key, set()).update(a.name for a in node.attribute if a.name not in _STAMPS)
    return [RequiredOperator(*key, count, _reason(key, attributes[key], operators)) for key, count in counts.items()]


def _reason(key: Triple, attributes: set[str], operators: Sequence[PluginOperator]) -> str:
    missing = near_miss(key, [o.triple for o in operators])
    if missing:
        return f"it {missing}"
    operator = next(o for o in operators if o.triple == key)
    dropped = sorted(attributes - set(operator.fields)) if operator.fields is not None else []
    return f"it would never see the attribute {', '.join(dropped)}" if dropped else ""
