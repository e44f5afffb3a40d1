"""Rules of normalizations and variances, which subtract a mean: it is rounded as the values are, not as what is left.

Runtimes subtract first and square what is left, as tried for ONNX Runtime's layer, group and instance normalization;
so a variance's error is relative to itself, but for the square of the mean's error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from adroit.deploy.parity.rounding.call import Call, NoRule, Rounding, Rule


def _normalized(x: Tensor, axes: list[int], epsilon: float, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Returns the magnitude of (x - mean) / sqrt(variance + epsilon) * weight + bias."""
    root = math.sqrt(math.prod(x.shape[axis] for axis in axes))
    mean, magnitude = x.mean(axes, keepdim=True), x.abs().mean(axes, keepdim=True)
    centered = x - mean
    inverse = torch.rsqrt(centered.square().mean(axes, keepdim=True) + epsilon)
    # The sums of mean and variance count once, not SAFETY times: they are the same for all elements.
    error = x.abs() + mean.abs() + magnitude * root / 4 + centered.abs() * (2 + root / 8)
    scaled: Tensor = error * inverse if weight is None else error * inverse * weight.abs()
    return scaled if bias is None else scaled + bias.abs()


def _column(value: Tensor | None, dimensions: int) -> Tensor | None:
    return None if value is None else value.view(-1, *[1] * (dimensions - 2))


def _batch_norm(call: Call) -> Rounding:
    x, epsilon = call["input"], call["eps"]
    weight, bias = (_column(call[name], x.dim()) for name in ("weight", "bias"))
    mean, variance = (_column(call.arguments.get(f"running_{name}"), x.dim()) for name in ("mean", "var"))
    if call.arguments.get("training") or mean is None or variance is None:  # an instance norm is one, too
        return _normalized(x, [axis for axis in range(x.dim()) if axis != 1], epsilon, weight, bias), 2
    factor = torch.rsqrt(variance + epsilon)
    factor = factor if weight is None else factor * weight.abs()
    magnitude = (x.abs() + mean.abs()) * factor
    return magnitude if bias is None else magnitude + bias.abs(), 2


def _layer_norm(call: Call) -> Rounding:
    x = call["input"]
    axes = list(range(x.dim() - len(call["normalized_shape"]), x.dim()))
    return _normalized(x, axes, call["eps"], call["weight"], call["bias"]), 2


def _group_norm(call: Call) -> Rounding:
    x = call["input"]
    shape = (call["N"], call["group"], call["C"] // call["group"], call["HxW"])

    def by_group(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.view(1, *shape[1:3], 1)

    magnitude = _normalized(x.reshape(shape), [2, 3], call["eps"], by_group(call["weight"]), by_group(call["bias"]))
    return magnitude.view(x.shape), 2


def _root_mean_square_norm(call: Call) -> Rounding:
    """All that is added has one sign."""
    return 2 * call.result.abs(), math.prod(call["normalized_shape"])


def _variance(call: Call) -> list[Rounding]:
    """The variance, or its root, and for var_mean and std_mean the mean."""
    x, axes = call.first, _axes(call)
    terms = math.prod(x.shape[axis] for axis in axes)
    keepdim = bool(call["keepdim"])
    magnitude = x.abs().mean(axes, keepdim=keepdim)
    shift = call.unit * math.sqrt(terms) * magnitude  # error of the mean
    result = call.result.abs()
    if call.function.overloadpacket in (torch.ops.aten.std, torch.ops.aten.std_mean):
        error = torch.minimum(shift, shift.square() / result)
    else:
        error = shift.square()
    return [(result + error.nan_to_num(0.0) / (4 * call.unit), terms), (magnitude, terms)]


def _axes(call: Call) -> list[int]:
    dim: Any = call["dim"]
    if "correction" not in call.arguments and "unbiased" not in call.arguments:
        raise NoRule(f"{call.function} is not known")
    axes = [dim] if isinstance(dim, int) else dim
    return [axis % call.first.dim() for axis in axes or range(call.first.dim())]


RULES: Mapping[str, Rule] = {
    **{
        name: Rule(_batch_norm)
        for name in ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")
    },
    "native_layer_norm": Rule(_layer_norm),
    "native_group_norm": Rule(_group_norm),
    "_fused_rms_norm": Rule(_root_mean_square_norm),
    **{name: Rule(_variance, nonnegative=True) for name in ("var", "std", "var_mean", "std_mean")},
}
