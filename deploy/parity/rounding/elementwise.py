"""Rules of operations that compute each element by itself: arithmetic, functions, activations.

Measured against float64 over [-40,40]: the functions of ONNX Runtime and PyTorch are within 4.5 units of round-off of
the larger of the result and what is named below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from adroit.deploy.parity.rounding.call import Call, Rounding, Rule

# ONNX Runtime's sigmoid is 0.5 and a rational function: its error stays where the sigmoid vanishes. In 4 units.
_SIGMOID_FLOOR = 0.25


def _one_rounding(call: Call) -> Rounding:
    return call.result.abs(), 1


def _of(magnitude: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """Returns a rule whose magnitude follows from the first argument and the result."""
    return Rule(lambda call: (magnitude(call.first, call.result), 1))


def _operands(call: Call) -> list[Any]:
    return [value for name, value in call.arguments.items() if name in ("self", "other")]


def _exact_operands(call: Call) -> Tensor:
    """One correctly rounded operation on representable values is exact where its result is representable."""
    exact = call.representable(call.result)
    if call.arguments.get("alpha", 1) != 1 or not exact.any():
        return torch.zeros_like(exact)
    for value in _operands(call):
        exact = exact & call.representable(value)
    return exact


def _sum_of_two(call: Call) -> Rounding:
    a, b = (torch.as_tensor(value, dtype=call.result.dtype).abs() for value in _operands(call))
    factor = abs(call.arguments.get("alpha", 1))
    # rsub scales the first of its operands.
    return (a * factor + b if call.function.overloadpacket is torch.ops.aten.rsub else a + b * factor), 2


def _division_is_exact(call: Call) -> Tensor:
    if call.arguments.get("rounding_mode") is not None:  # jumps
        return torch.ones_like(call.result, dtype=torch.bool)
    return _exact_operands(call)


def _power(call: Call) -> Rounding:
    """The exponent is rounded where it must be, which counts for as much as the logarithm of the base."""
    base, exponent = call["self"], call["exponent"]
    if isinstance(exponent, int | float) and bool(call.representable(exponent)):
        return call.result.abs(), 1
    logarithm = torch.as_tensor(base, dtype=call.result.dtype).abs().log().nan_to_num(0.0, 0.0, 0.0)
    exponents = torch.as_tensor(exponent, dtype=call.result.dtype)
    return call.result.abs() * (1 + (exponents * logarithm).abs() / 4), 1


def _lerp(call: Call) -> Rounding:
    start, end = call["self"].abs(), call["end"].abs()
    return start + (start + end) * abs(call["weight"]), 3


def _two_terms(call: Call) -> Rounding:
    return call.on_absolute_values(), 2


def _bounded_is_exact(call: Call) -> Tensor:
    """A bound of an activation is rounded where it is not representable; all else passes unchanged."""
    return (call.result == call.first) | call.representable(call.result)


def _sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x) + _SIGMOID_FLOOR


def _log_sigmoid(x: Tensor, result: Tensor) -> Tensor:
    # ONNX Runtime takes the logarithm of a sigmoid; below -16 that is wrong by more than rounding, and stays so.
    return result.abs() + 1 + 2 * _SIGMOID_FLOOR * torch.exp(-x).clamp(max=math.exp(16.0))


def _gated(call: Call) -> Rounding:
    value, gate = call.first.chunk(2, call["dim"])
    return value.abs() * _sigmoid(gate), 1


def _softplus(call: Call) -> Rounding:
    return call.result.abs() + 0.25 / abs(call["beta"]), 1


def _exponential_linear(call: Call) -> Rounding:
    """exp(x) - 1 below zero."""
    alpha = abs(call["alpha"]) * abs(call.arguments.get("scale", 1.0))
    return torch.where(call.first > 0, call.result.abs(), call.result.abs().clamp(min=alpha / 2)), 1


def _exponential_linear_is_exact(call: Call) -> Tensor:
    return (call.first > 0) & (call.result == call.first)


def _shrink(call: Call) -> Rounding:
    return call.result.abs() + abs(call["lambd"]), 1


def _shrink_is_exact(call: Call) -> Tensor:
    inside: Tensor = call.first.abs() < abs(call["lambd"]) * (1 - 4 * call.unit)
    return inside


def _hard_is_exact(call: Call) -> Tensor:
    """Hardsigmoid and hardswish are straight beyond 3; near the bend rounding may be seen on both sides."""
    beyond = call.first.abs() > 3 + 16 * call.unit
    return beyond & _bounded_is_exact(call)


def _log1p(x: Tensor, result: Tensor) -> Tensor:
    return result.abs() + 0.5  # log(1 + x)


def _inverse_error_function(x: Tensor, result: Tensor) -> Tensor:
    return result.abs() * 2 + 1 / (1 - x.abs())


_ACTIVATIONS: Mapping[str, Rule] = {
    "sigmoid": _of(lambda x, y: _sigmoid(x)),
    "silu": _of(lambda x, y: x.abs() * _sigmoid(x)),
    "mish": _of(lambda x, y: 2 * y.abs() + _SIGMOID_FLOOR * x.abs()),
    "gelu": _of(lambda x, y: x.abs()),  # x * (1 + erf(x)) / 2, or with tanh
    "log_sigmoid_forward": _of(_log_sigmoid),
    "glu": Rule(_gated),
    "softplus": Rule(_softplus),
    "elu": Rule(_exponential_linear, _exponential_linear_is_exact),
    "celu": Rule(_exponential_linear, _exponential_linear_is_exact),
    "softshrink": Rule(_shrink, _shrink_is_exact),
    "hardsigmoid": Rule(lambda call: (call.first.abs() / 6 + 0.5, 2), _hard_is_exact),
    "hardswish": Rule(lambda call: (call.first.abs() * (call.first.abs() / 6 + 0.5).clamp(max=1), 2), _hard_is_exact),
    **{
        name: Rule(_one_rounding, _bounded_is_exact)
        for name in (
            *("hardtanh", "threshold", "clamp", "clamp_min", "clamp_max", "clip"),
            *("leaky_relu", "_prelu_kernel", "rrelu_with_noise"),  # above zero the argument itself
        )
    },
}
_FUNCTIONS: Mapping[str, Rule] = {
    **{
        name: Rule(_one_rounding)
        for name in (
            *("tanh", "exp", "exp2", "log", "log2", "log10", "reciprocal", "rsqrt", "tan", "sinh", "cosh", "asinh"),
            *("erf", "hypot", "deg2rad", "rad2deg"),
        )
    },
    "sqrt": Rule(_one_rounding, lambda call: call.representable(call.result) & call.representable(call.first)),
    "log1p": _of(_log1p),
    "expm1": _of(lambda x, y: y.abs() + 0.5),  # exp(x) - 1
    "erfc": _of(lambda x, y: y.abs() + 1),  # 1 - erf(x)
    "erfinv": _of(_inverse_error_function),
    "logit": _of(lambda x, y: y.abs() + 1),
    **{name: _of(lambda x, y: y.abs().clamp(min=0.25)) for name in ("sin", "cos", "sinc")},
    **{name: _of(lambda x, y: 2 * y.abs().clamp(min=0.25)) for name in ("asin", "acos", "acosh")},
    **{name: _of(lambda x, y: 2 * y.abs()) for name in ("atan", "atan2", "atanh")},
    **{name: Rule(lambda call: (sum(v.abs() for v in _operands(call)) + 1, 1)) for name in ("logaddexp", "logaddexp2")},
    "xlogy": Rule(_one_rounding),
}
_ARITHMETIC: Mapping[str, Rule] = {
    **{name: Rule(_sum_of_two, _exact_operands) for name in ("add", "sub", "rsub", "subtract")},
    **{name: Rule(_one_rounding, _exact_operands) for name in ("mul", "multiply", "square")},
    **{name: Rule(_one_rounding, _division_is_exact) for name in ("div", "divide", "true_divide")},
    "pow": Rule(_power),
    "lerp": Rule(_lerp),
    "addcmul": Rule(_two_terms),
    "addcdiv": Rule(_two_terms),
    # Numbers of Python's that the deployment stores: rounded where they must be.
    **{
        name: Rule(_one_rounding, lambda call: call.representable(call.result))
        for name in ("full", "full_like", "new_full", "scalar_tensor", "fill", "arange")
    },
    "linspace": Rule(lambda call: (torch.full_like(call.result, abs(call["start"]) + abs(call["end"])), 2)),
}
RULES: Mapping[str, Rule] = {**_ACTIVATIONS, **_FUNCTIONS, **_ARITHMETIC}
