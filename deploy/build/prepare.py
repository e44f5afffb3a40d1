"""The ONNX file that a builder gets: which form, which precision, and whether it may be built at all.

plugins     our operators as nodes, for TensorRT with the plugin library; their bool outputs cast to bool
functions   their portable bodies inlined, for tensorrt-rtx, which takes no plugins

In both, a deployment in 8 bits is lowered from uint8 to int8.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import onnx
import onnx_ir as ir

from adroit.deploy.build.bool_outputs import cast_bool_outputs
from adroit.deploy.build.choices import Precision
from adroit.deploy.build.half import Kept, cast_to_half
from adroit.deploy.build.int8 import lower_to_int8
from adroit.deploy.build.job import CustomNode
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.graph import inline_bodies
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.operators.definitions import DOMAIN, operators
from adroit.deploy.operators.schemas import register_schemas
from adroit.errors import UnsupportedModel

Form = Literal["plugins", "functions"]
INT32 = range(-(2**31), 2**31)


@dataclass(frozen=True)
class Prepared:
    """A model ready for a builder.

    Attributes:
        model: with types on every value.
        custom: the nodes that need plugins; none in the form "functions".
        kept: what stays float32 in float16.
    """

    model: onnx.ModelProto
    form: Form
    precision: Precision
    custom: tuple[CustomNode, ...]
    kept: tuple[Kept, ...]

    @property
    def content(self) -> bytes:
        """The ONNX file."""
        content: bytes = self.model.SerializeToString(deterministic=True)
        return content


def prepare(deployment: Deployment, form: Form, precision: Precision, keep: Collection[str] = ()) -> Prepared:
    """Puts the deployment's model into `form` and `precision`.

    Args:
        keep: names of nodes to leave in float32.

    Raises:
        UsageError: an unreadable deployment, or a name that no node has.
        UnsupportedModel: a model that was changed, an attribute that TensorRT would cut, a precision
            that this form, or a deployment in 8 bits, cannot have.
    """
    model = lower_to_int8(deployment.load_model())
    custom = tuple(_custom_node(node) for node in all_nodes(model.graph) if node.domain == DOMAIN)
    if precision == Precision.fp16 and deployment.info.form == "portable":
        raise UnsupportedModel(
            "fp16 was requested, but this deployment holds standard operators only: which nodes must stay float32"
            " cannot be seen in it",
            hint="export it without --portable, and build that",
        )
    if precision == Precision.fp16 and deployment.info.quantization is not None:
        raise UnsupportedModel(
            f"fp16 was requested, but {deployment.path} is in 8 bits",
            hint="leave --precision out, or build the float32 deployment that it was made from",
        )
    kept: list[Kept] = []
    if precision == Precision.fp16:
        model, kept = _half(model, keep, operators_too=form == "plugins")
    if form == "functions":
        model = inline_bodies(model) if custom else model
        custom = ()
    else:
        model = cast_bool_outputs(model)
    return Prepared(model, form, precision, custom, tuple(kept))


def _half(model: onnx.ModelProto, keep: Collection[str], operators_too: bool) -> tuple[onnx.ModelProto, list[Kept]]:
    register_schemas()
    typed = ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(model, data_prop=True))
    kept = cast_to_half(typed, keep, operators_too)
    if operators_too:
        # Bodies compute in float32, and would stand in for a plugin that is missing.
        typed.functions.clear()
    return ir.serde.serialize_model(typed), kept


def _custom_node(node: onnx.NodeProto) -> CustomNode:
    """Raises UnsupportedModel for a node that TensorRT would misread."""
    described = operators().get(node.op_type)
    if described is None:
        raise UnsupportedModel(
            f"node {node.name} is {DOMAIN}::{node.op_type}, which this adroit does not know",
            facts={"known": ", ".join(operators())},
            hint="upgrade adroit, or export again",
        )
    stamps = {}
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.STRING:
            stamps[attribute.name] = attribute.s.decode()
        wide = [value for value in (*attribute.ints, attribute.i) if value not in INT32]
        if wide:
            raise UnsupportedModel(
                f"attribute {attribute.name} of node {node.name} ({node.op_type}) is {wide[0]}",
                facts={"limit": "TensorRT passes attributes to plugins as 32-bit integers, and a wider one as 0"},
                hint="export the network again",
            )
    expected = {"plugin_namespace": DOMAIN, "plugin_version": str(described.version)}
    if stamps != expected:
        raise UnsupportedModel(
            f"node {node.name} ({node.op_type}) is not stamped for TensorRT as this adroit does",
            facts={"has": stamps, "expected": expected},
            hint="export the network again with this adroit",
        )
    return CustomNode(node.name, node.op_type, stamps["plugin_version"], stamps["plugin_namespace"])
