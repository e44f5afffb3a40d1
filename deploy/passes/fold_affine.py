"""What gives each channel a factor and an offset becomes part of the layer before it: batch norms, constants.

Computed in float64, rounded once. After an adder convolution it becomes scale and shift, and that is a matter of
correctness too: adder sums are near -3,000 with a spread of 2 to 15, so they must not be rounded to a shorter type
before the norm is applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.passes.affine import Vector, affine_source, affine_terms
from adroit.deploy.passes.graph import MODULE_KEY, add_initializer, constant, only_source, replace_pair
from adroit.errors import UnsupportedModel

Array = NDArray[np.generic]


class _Layer(NamedTuple):
    """A layer that a factor and an offset can become part of: y = multiplied * (...) + added.

    Attributes:
        multiplied: its constant that a factor goes to.
        column: gives a factor [channels] the axes to multiply that constant.
        added: what it adds to each channel, float64 [channels].
        names: endings of the names of the two new constants. first: index of the input that `multiplied` is.
        rank: number of axes of its result.
    """

    multiplied: Array
    column: Callable[[Vector], Vector]
    added: Vector
    names: tuple[str, str]
    first: int
    rank: int


def fold_affine(graph: ir.Graph) -> int:
    """Folds y = factor * s + offset, for each channel, into the layer that makes s, where nothing else reads s.

    Layers: AdderConv2d, Conv, ConvTranspose, Gemm, with constant weights; in branches too.

    Raises:
        UnsupportedModel: a layer whose finite numbers a batch norm takes out of the range of their type.
    """
    return sum(_fold(node) for node in list(graph.all_nodes()))


def _fold(node: ir.Node) -> bool:
    producer = only_source(affine_source(node), node)
    layer = None if producer is None else _layer(producer)
    if producer is None or layer is None:
        return False
    terms = affine_terms(node, len(layer.added), layer.rank)
    if terms is None or not _is_finite(layer, *terms):
        return False
    arrays = _folded(layer, *terms)
    if not all(np.isfinite(array).all() for array in arrays):
        if node.op_type == "BatchNormalization":
            raise _overflow(producer, layer, *terms)
        return False
    name = node.metadata_props.get(MODULE_KEY) or node.name or node.outputs[0].name or ""
    graph = node.graph
    assert graph is not None
    constants = [
        add_initializer(graph, f"{name}.{ending}", array) for ending, array in zip(layer.names, arrays, strict=True)
    ]
    inputs = [*producer.inputs[: layer.first], *constants]
    # A Gemm's beta is part of what it adds by now.
    attributes = [attribute for key, attribute in producer.attributes.items() if key != "beta"]
    replace_pair(producer, node, producer.op_type, inputs, attributes)
    return True


def _is_finite(layer: _Layer, factor: Vector, offset: Vector) -> bool:
    return all(np.isfinite(array).all() for array in (layer.multiplied, layer.added, factor, offset))


def _overflow(producer: ir.Node, layer: _Layer, factor: Vector, offset: Vector) -> UnsupportedModel:
    """Runtimes fold batch norms as this pass does, and would compute with infinity without a word."""
    name = producer.metadata_props.get(MODULE_KEY) or producer.name or producer.outputs[0].name
    largest = {"weight": np.abs(layer.multiplied).max(), "factor": np.abs(factor).max(), "offset": np.abs(offset).max()}
    return UnsupportedModel(
        f"the weights of the layer {name} leave the range of {layer.multiplied.dtype} when the batch norm behind it is"
        " folded in, as every runtime does",
        facts={f"largest {kind}": f"{value:.3g}" for kind, value in largest.items()},
        hint="its weights or the variance of its batch norm are not those of a trained network: look at the checkpoint",
    )


def _folded(layer: _Layer, factor: Vector, offset: Vector) -> list[Array]:
    """The layer's two constants with both terms in them; infinite where they leave the range of their type."""
    kind = layer.multiplied.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        multiplied = (np.asarray(layer.multiplied, np.float64) * layer.column(factor)).astype(kind)
        added = (layer.added * factor + offset).astype(kind)
    return [multiplied, added]


def _layer(node: ir.Node) -> _Layer | None:
    """None where the node is no such layer, or something of it is not constant."""
    make = {
        (DOMAIN, "AdderConv2d"): _adder,
        ("", "Conv"): _convolution,
        ("", "ConvTranspose"): _transposed_convolution,
        ("", "Gemm"): _linear,
    }.get((node.domain, node.op_type))
    return None if make is None else make(node)


def _adder(node: ir.Node) -> _Layer | None:
    scale, shift = (constant(value) for value in node.inputs[2:4])
    if scale is None or shift is None or node.attributes["activation"].as_int() != 0:
        return None
    return _Layer(scale, lambda factor: factor, np.asarray(shift, np.float64), ("scale", "shift"), first=2, rank=4)


def _convolution(node: ir.Node) -> _Layer | None:
    """W is [M, C/G, ...]."""
    weight = constant(node.inputs[1])
    if weight is None:
        return None
    shape = (-1, *[1] * (weight.ndim - 1))
    return _with_bias(node, weight, len(weight), weight.ndim, lambda factor: factor.reshape(shape))


def _transposed_convolution(node: ir.Node) -> _Layer | None:
    """W is [C, M/G, ...], and filter m of group g counts as g * M/G + m."""
    weight = constant(node.inputs[1])
    if weight is None:
        return None
    groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
    shape = (len(weight), weight.shape[1], *[1] * (weight.ndim - 2))

    def column(factor: Vector) -> Vector:
        return np.repeat(factor.reshape(groups, -1), len(weight) // groups, axis=0).reshape(shape)

    return _with_bias(node, weight, groups * weight.shape[1], weight.ndim, column)


def _linear(node: ir.Node) -> _Layer | None:
    """B is [K, M], or [M, K] with transB."""
    weight = constant(node.inputs[1])
    if weight is None:
        return None
    transposed = "transB" in node.attributes and node.attributes["transB"].as_int() != 0
    beta = node.attributes["beta"].as_float() if "beta" in node.attributes else 1.0
    shape, channels = ((-1, 1), weight.shape[0]) if transposed else ((1, -1), weight.shape[1])
    return _with_bias(node, weight, channels, 2, lambda factor: factor.reshape(shape), beta)


def _with_bias(
    node: ir.Node,
    weight: Array,
    channels: int,
    rank: int,
    column: Callable[[Vector], Vector],
    beta: float = 1.0,
) -> _Layer | None:
    """The layer of this weight, with `beta` times the bias that the node has, if any."""
    added = np.zeros(channels)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = constant(node.inputs[2])
        if bias is None or bias.size not in (1, channels) or bias.shape[-1:] not in ((), (bias.size,)):
            return None
        added = added + beta * np.asarray(bias, np.float64).reshape(-1)
    return _Layer(weight, column, added, ("folded_weight", "folded_bias"), first=1, rank=rank)
