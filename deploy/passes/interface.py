"""Names of a model's inputs, outputs and free dimensions, as users gave them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from adroit.errors import UnsupportedModel


def name_dimensions(graph: ir.Graph, free: Sequence[Mapping[int, str]]) -> None:
    """Gives the exporter's symbols for sizes the names that they have in the inputs.

    Args:
        free: of each input, the name of a free dimension by its place.
    """
    names: dict[str, str] = {}
    for value, given in zip(graph.inputs, free, strict=True):
        assert value.shape is not None
        for axis, name in given.items():
            dimension = value.shape[axis]
            if isinstance(dimension, ir.SymbolicDim) and dimension.value:
                names.setdefault(dimension.value, name)
    if not names:
        return
    symbols = re.compile(rf"\b({'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})\b")
    values = [*graph.inputs, *graph.outputs]
    for node in graph.all_nodes():
        values += node.outputs
    for value in values:
        if value.shape is not None and any(isinstance(size, ir.SymbolicDim) for size in value.shape):
            value.shape = ir.Shape([_renamed(size, symbols, names) for size in value.shape])


def _renamed(size: int | ir.SymbolicDim, symbols: re.Pattern[str], names: Mapping[str, str]) -> int | str | None:
    if isinstance(size, int):
        return size
    return None if size.value is None else symbols.sub(lambda match: names[match[1]], size.value)


def name_interface(graph: ir.Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Names the inputs and outputs.

    An output that is an input, a constant or another output becomes a value of its own.

    Raises:
        UnsupportedModel: one name for two of them.
    """
    names = [*inputs, *outputs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UnsupportedModel(
            f"two inputs or outputs of the network have the name {twice}",
            hint="return a dictionary with other keys, or rename the input",
        )
    for value in graph.inputs:
        value.name = f"__{value.name}"  # frees the names: an input may have that of another
    for value, name in zip(graph.inputs, inputs, strict=True):
        value.name = name
    seen: set[ir.Value] = set()
    for index, (value, name) in enumerate(zip(list(graph.outputs), outputs, strict=True)):
        if value in seen or value.producer() is None:
            node = ir.Node("", "Identity", [value])
            node.outputs[0].shape, node.outputs[0].type = value.shape, value.type
            graph.append(node)
            graph.outputs[index] = value = node.outputs[0]
        seen.add(value)
        value.name = name
    _free_names(graph, set(names))


def _free_names(graph: ir.Graph, taken: set[str]) -> None:
    """No value inside has a name that an input or output has."""
    shown = {*graph.inputs, *graph.outputs}
    for value in graph.initializers.copy().values():
        if value.name in taken:
            del graph.initializers[value.name]
            value.name = f"{value.name}.weight"
            graph.initializers[value.name] = value
    for node in graph.all_nodes():
        for value in node.outputs:
            if value.name in taken and value not in shown:
                value.name = f"{value.name}/value"
