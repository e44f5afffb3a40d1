"""Operators that PyTorch's exporter has no ONNX for, or only for one size, written as operators that it has.

Adaptive pooling is exported by PyTorch with the windows of the traced size, so that another size gives wrong results;
here the windows follow from the size at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from adroit.errors import UnsupportedModel

_ATEN = torch.ops.aten


def _windows(x: Tensor, axis: int, count: int) -> Iterator[Tensor]:
    size = x.shape[axis]
    for index in range(count):
        start, end = (index * size) // count, ((index + 1) * size + count - 1) // count
        yield _ATEN.slice.Tensor(x, axis, start, end)


def _pooled(x: Tensor, sizes: list[int], reduce: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Windows are rectangles, so that one axis is pooled after the other."""
    for axis, count in enumerate(sizes, x.dim() - len(sizes)):
        parts = [reduce(window, axis) for window in _windows(x, axis, count)]
        x = parts[0] if count == 1 else torch.cat(parts, axis)
    return x


def _average(x: Tensor, sizes: list[int]) -> Tensor:
    return _pooled(x, sizes, lambda window, axis: window.mean(axis, keepdim=True))


def _maximum(x: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    values = _pooled(x, sizes, lambda window, axis: window.amax(axis, keepdim=True))
    return values, torch.zeros_like(values, dtype=torch.int64)  # nobody reads the places: see below


def _leaky(x: Tensor, lower: float = 0.125, upper: float = 1.0 / 3, *others: Any) -> Tensor:
    """What a randomized leaky ReLU is in evaluation."""
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2)


_TABLE: dict[Any, Callable[..., Any]] = {
    _ATEN.adaptive_avg_pool1d.default: _average,
    _ATEN.adaptive_avg_pool2d.default: _average,
    _ATEN.adaptive_avg_pool3d.default: _average,
    _ATEN.adaptive_max_pool1d.default: _maximum,
    _ATEN.adaptive_max_pool2d.default: _maximum,
    _ATEN.adaptive_max_pool3d.default: _maximum,
    _ATEN.rrelu.default: _leaky,
}
_AVERAGES = {_ATEN.adaptive_avg_pool1d.default, _ATEN.adaptive_avg_pool2d.default, _ATEN.adaptive_avg_pool3d.default}
_PLACES = {_ATEN.adaptive_max_pool1d.default, _ATEN.adaptive_max_pool2d.default, _ATEN.adaptive_max_pool3d.default}


def decompose(program: ExportedProgram) -> ExportedProgram:
    """The program without the operators of this file; itself where it has none.

    Raises:
        UnsupportedModel: the places of an adaptive maximum are read.
    """
    nodes = [node for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule)
             for node in module.graph.nodes]  # fmt: skip
    for node in nodes:
        if node.target in _PLACES and any(user.args[1:] == (1,) and user.users for user in node.users):
            raise UnsupportedModel(
                "ONNX has no adaptive maximum that gives the places of its values",
                facts={"operator": str(node.target)},
                hint="do not return indices: return_indices=False",
            )
    present = {node.target for node in nodes if _is_needed(node)}
    return program.run_decompositions({target: _TABLE[target] for target in present}) if present else program


def _is_needed(node: torch.fx.Node) -> bool:
    """Global averages of all positions are exported right, and as one node."""
    if node.target not in _TABLE:
        return False
    return node.target not in _AVERAGES or any(size != 1 for size in node.args[1])  # type: ignore[union-attr]
