"""Adder convolutions in float32 become those of 8-bit integers, and activations stay uint8 between them.

A tensor is quantized once, where a float layer makes what quantized layers read. Quantized layers hand
each other integers; one whose result no quantized layer reads gives float32 itself, and where layers of
both kinds read it, it is turned back for the float ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.operators.grid import Grid
from adroit.deploy.passes.graph import MODULE_KEY, add_initializer, is_operator, replace_node
from adroit.deploy.quantize.weights import QuantizedWeights

# A uint8 value and the grid that it is on.
Bytes = tuple[ir.Value, Grid]


def adders(graph: ir.Graph) -> list[ir.Node]:
    """The adder convolutions in float32, in graph order."""
    return [node for node in graph if is_operator(node, "AdderConv2d", "AdderConv2dAdd")]


def byte_tensors(graph: ir.Graph, layers: Collection[str]) -> list[str]:
    """Names of the tensors that are uint8 once `layers` (node names) are quantized: all that those read."""
    read = [value for node in adders(graph) if node.name in layers for value in activations(node)]
    return list(dict.fromkeys(str(value.name) for value in read))


def activations(adder: ir.Node) -> list[ir.Value]:
    """Returns X, and the residual where there is one."""
    return [value for value in (adder.inputs[0], *adder.inputs[4:]) if value is not None]


def quantize_adders(graph: ir.Graph, grids: Mapping[str, Grid], layers: Mapping[str, QuantizedWeights]) -> int:
    """Replaces the adder convolutions that `layers` has by node name; how many.

    Args:
        grids: by tensor, at least of those that byte_tensors(graph, layers) names.
    """
    wanted = {name: grids[name] for name in byte_tensors(graph, layers)}
    # uint8 values by the names of the float32 ones that they stand for.
    as_bytes: dict[str, ir.Value] = {}
    replaced = [node for node in adders(graph) if node.name in layers]
    for node in replaced:
        for value in activations(node):
            if value.name not in as_bytes:
                as_bytes[str(value.name)] = _quantize(graph, value, wanted[str(value.name)])
        _replace(graph, node, wanted, layers[str(node.name)], as_bytes)
    return len(replaced)


def _replace(
    graph: ir.Graph,
    node: ir.Node,
    grids: Mapping[str, Grid],
    weights: QuantizedWeights,
    as_bytes: dict[str, ir.Value],
) -> None:
    """Puts the quantized layer in the place of `node`."""
    name = str(node.outputs[0].name)
    x, *others = ((as_bytes[str(value.name)], grids[str(value.name)]) for value in activations(node))
    attributes = [node.attributes[key] for key in ("strides", "pads", "activation")]
    residual, output = others[0] if others else None, grids.get(name)
    quantized = quantized_node(graph, str(node.name), attributes, x, residual, output, weights)
    quantized.metadata_props.update(node.metadata_props)
    if output is None:
        replace_node(node, quantized)
        return
    graph.insert_before(node, quantized)
    as_bytes[name] = value = quantized.outputs[0]
    value.shape, value.type = node.outputs[0].shape, ir.TensorType(ir.DataType.UINT8)
    # For the float layers that read it; taken out again where there are none.
    replace_node(node, linear(graph, "DequantizeLinear", value, output, node))


def quantized_node(
    graph: ir.Graph,
    name: str,
    attributes: Sequence[ir.Attr],
    x: Bytes,
    residual: Bytes | None,
    output: Grid | None,
    weights: QuantizedWeights,
) -> ir.Node:
    """QAdderConv2d, or QAdderConv2dAdd where there is a residual; its constants are put into `graph`.

    Args:
        attributes: strides, pads and activation.
        output: None for a result in float32.
    """
    arrays: dict[str, NDArray[np.generic]] = {"weight": weights.weight, "scale": weights.scale, "shift": weights.shift}
    constants = [add_initializer(graph, f"{name}.quantized_{key}", array) for key, array in arrays.items()]
    grids = {"x": x[1], "output": output or Grid(1.0, 0), **({"residual": residual[1]} if residual else {})}
    return ir.Node(
        DOMAIN,
        "QAdderConv2dAdd" if residual else "QAdderConv2d",
        [x[0], *constants, *([residual[0]] if residual else [])],
        [
            *attributes,
            ir.AttrInt64("output_type", int(ir.DataType.UINT8 if output else ir.DataType.FLOAT)),
            *(ir.AttrInt64(f"{key}_zero_point", grid.zero_point) for key, grid in grids.items()),
            # X's scale is in the layer's own.
            *(ir.AttrFloat32(f"{key}_scale", grid.scale) for key, grid in grids.items() if key != "x"),
        ],
        name=name,
    )


def _quantize(graph: ir.Graph, value: ir.Value, grid: Grid) -> ir.Value:
    """QuantizeLinear of a float layer's result, right after it."""
    before = value.producer()
    if before is not None and before.op_type == "MaxPool":
        # ONNX Runtime moves QuantizeLinear before a MaxPool, whose kernel for bytes takes 3.6 ms where that for
        # floats takes 0.06 (64 x 112 x 112, 3 x 3, one thread). What lies below the grid saturates, so this
        # changes nothing but that order; it takes 0.05 ms.
        low = add_initializer(graph, f"{value.name}.low", np.array(grid.low, np.float32))
        guard = ir.Node("", "Max", [value, low], name=before.name, metadata_props=dict(before.metadata_props))
        graph.insert_after(before, guard)
        value, before = guard.outputs[0], guard
    made = linear(graph, "QuantizeLinear", value, grid, before)
    if before is not None:
        graph.insert_after(before, made)
    else:
        graph.insert_before(graph[0], made)
    return made.outputs[0]


def linear(graph: ir.Graph, operator: str, value: ir.Value, grid: Grid, source: ir.Node | None) -> ir.Node:
    """QuantizeLinear or DequantizeLinear, of the module that `source` is of."""
    scale = add_initializer(graph, f"{value.name}.grid_scale", np.array(grid.scale, np.float32))
    zero_point = add_initializer(graph, f"{value.name}.grid_zero_point", np.array(grid.zero_point, np.uint8))
    metadata = dict(source.metadata_props) if source is not None else {}
    node = ir.Node("", operator, [value, scale, zero_point], name=metadata.get(MODULE_KEY), metadata_props=metadata)
    kind = ir.DataType.UINT8 if operator == "QuantizeLinear" else ir.DataType.FLOAT
    node.outputs[0].shape, node.outputs[0].type = value.shape, ir.TensorType(kind)
    return node
