"""Whether every shape of a profile is one that the network and the kernels can take.

The dimensions of every tensor at a profile's smallest and largest shapes come from ONNX's shape
inference; the limits are those of plugins/kernels/shapes.h and of the index type of the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx

from adroit.deploy.deployment.builds import Shape
from adroit.deploy.deployment.description import Description
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.rules import attributes_of, operator_rules
from adroit.deploy.operators.schemas import register_schemas
from adroit.deploy.runtimes.tensorrt.profiles import Profile
from adroit.errors import UsageError
from adroit.models.routing.cost import GATE_SHRINK, SIZE_MULTIPLE
from adroit.models.routing.space import RoutingSpace

# Elements of one tensor: TensorRT and the kernels count them with 31 bits.
MOST_ELEMENTS = 2**31 - 1


def check_limits(model: onnx.ModelProto, info: Description, profiles: Sequence[Profile]) -> None:
    """Raises UsageError, naming profile, input, dimension and node, where a shape cannot work."""
    for profile in profiles:
        if info.routing is not None:
            _check_routed(info, profile)
        for kind in ("min", "opt", "max"):
            shapes = {name: span.shapes[kind] for name, span in profile.ranges.items()}
            _check_shapes(model, shapes, f"profile {profile.name!r}: {kind}", info.inputs[0].name)


def _check_routed(info: Description, profile: Profile) -> None:
    """A routed network's maps are halved five times, and its smallest map must leave something to the small gates.

    Shape inference does not see through the branches of such a network, so this is reckoned here.
    """
    assert info.routing is not None
    space = RoutingSpace(info.routing.depth, info.routing.width)
    least = (4 << max(node.scale for node in space.nodes)) * GATE_SHRINK.get(info.routing.gate, 1)
    name = info.inputs[0].name
    for kind, shape in profile.ranges[name].shapes.items():
        for index, dimension in ((2, "height"), (3, "width")):
            size = shape[index]
            where = f"profile {profile.name!r}: {kind} of input {name}, dimension {index} ({dimension}) is {size}"
            if size % SIZE_MULTIPLE:
                below = size // SIZE_MULTIPLE * SIZE_MULTIPLE
                raise UsageError(
                    f"{where}; this network takes multiples of {SIZE_MULTIPLE}",
                    hint=f"use {max(below, least)} or {max(below + SIZE_MULTIPLE, least)}; `adroit run` pads images"
                    " to such sizes",
                )
            if size < least:
                raise UsageError(f"{where}; its gates need {least} or more", hint=f"raise it to {least}")


def _check_shapes(model: onnx.ModelProto, shapes: Mapping[str, Shape], where: str, image: str) -> None:
    at = f"{where} of input {image} is {'x'.join(map(str, shapes[image]))}"
    known = _inferred(model, shapes, at)
    for node in all_nodes(model.graph):
        sizes = {name: known.get(name) for name in (*node.input, *node.output)}
        for name, shape in sizes.items():
            if shape and math.prod(shape) > MOST_ELEMENTS:
                raise UsageError(
                    f"{at}: tensor {name} of node {node.name} would have {math.prod(shape)} elements",
                    facts={"shape": "x".join(map(str, shape)), "largest": MOST_ELEMENTS},
                    hint="lower the batch, or height and width",
                )
        entering = sizes.get(node.input[0]) if node.input else None
        if entering and node.domain == DOMAIN:
            _check_operator(node, entering, sizes, at)


def _inferred(model: onnx.ModelProto, shapes: Mapping[str, Shape], at: str) -> dict[str, tuple[int, ...]]:
    """Dimensions of every tensor whose dimensions all are known once the inputs' are."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for dimension, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            dimension.dim_value = size
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    register_schemas()
    try:
        found = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise UsageError(f"{at}: the network has no result at this shape", facts={"reason": error}) from error
    known = {}
    for value in (*found.input, *found.value_info, *found.output):
        dimensions = value.type.tensor_type.shape.dim
        if dimensions and all(d.HasField("dim_value") for d in dimensions):
            known[value.name] = tuple(d.dim_value for d in dimensions)
    known |= {tensor.name: tuple(tensor.dims) for tensor in found.initializer}
    return known


def _check_operator(
    node: onnx.NodeProto, x: tuple[int, ...], sizes: Mapping[str, tuple[int, ...] | None], at: str
) -> None:
    """The limits of one of our operators on its input X."""
    rules = operator_rules().get(node.op_type)
    if rules is None or rules.smallest_input is None:
        return
    attributes, shapes = attributes_of(node), [sizes.get(name) for name in node.input]
    for axis, dimension in ((2, "height"), (3, "width")):
        limit = rules.smallest_input(attributes, shapes, axis)
        if limit is None:
            return
        needed, why = limit
        if x[axis] < needed:
            raise UsageError(
                f"{at}: too small for node {node.name} ({node.op_type})",
                facts={f"{dimension} there": x[axis], "least": needed, "reason": why},
                hint=f"raise dimension {axis} ({dimension})",
            )
