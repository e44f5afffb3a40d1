"""The error of an operation without a rule: measured by computing it once more in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from adroit.deploy.parity.rounding.call import Call
from adroit.deploy.parity.tolerance import SAFETY, UNIT_ROUNDOFF

_SHORTER = {torch.float64: torch.float32, torch.complex128: torch.complex64}


def measured_limits(call: Call) -> list[Tensor]:
    """Returns how far the float32 error of each result may go, element by element.

    It is SAFETY times the difference of float32 to float64, as a root mean square over the tensor and per element
    where that is larger, plus the result's round-off. Where the operation fails in float32, SAFETY times the round-off.
    """
    shorter = _in_float32(call)
    return [
        _measured(call, result, None if shorter is None else shorter[place])
        for place, result in enumerate(call.results)
    ]


def rounded_results(result: Any) -> list[Tensor]:
    """Returns the tensors of a result that rounding may move, in order."""
    types = (torch.float32, *_SHORTER)
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor) and leaf.dtype in types]


def _in_float32(call: Call) -> Sequence[Tensor] | None:
    if torch.Tag.nondeterministic_seeded in call.function.tags:
        return None  # another draw of random numbers would be no rounding error
    arguments = {name: tree_map(_shortened, value) for name, value in call.arguments.items()}
    try:
        results = rounded_results(call.again(arguments))
    except Exception:  # an operation may refuse float32 in any way; then its result's round-off serves
        return None
    fits = [a.shape == b.shape for a, b in zip(results, call.results, strict=False)]
    return results if len(results) == len(call.results) and all(fits) else None


def _shortened(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return _SHORTER.get(value, value)
    return value.to(_SHORTER[value.dtype]) if isinstance(value, Tensor) and value.dtype in _SHORTER else value


def _measured(call: Call, result: Tensor, shorter: Tensor | None) -> Tensor:
    rounding = call.unit * result.abs()
    if shorter is None:
        return SAFETY * rounding
    difference = (shorter.to(result.dtype) - result).abs().nan_to_num(0.0, 0.0, 0.0)
    if difference.numel():
        difference = difference.clamp(min=float(difference.square().mean().sqrt()))
    return rounding + SAFETY * difference * (call.unit / UNIT_ROUNDOFF["float32"])
