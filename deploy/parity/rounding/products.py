"""Rules of sums and products: convolutions, matrix products, reductions, poolings that average, softmax, attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from adroit.deploy.parity.rounding.call import Call, Rounding, Rule


def _sum_of(terms: Callable[[Call], int]) -> Rule:
    """Returns the rule of an operation that adds products: its magnitude is itself on absolute values."""
    return Rule(lambda call: (call.on_absolute_values(), max(1, terms(call))))


def _reduced(call: Call) -> int:
    """How many elements of the argument go into one of the result."""
    return max(1, call.first.numel()) // max(1, call.result.numel())


def _convolved(call: Call) -> int:
    weight: Tensor = call["weight"]
    if call.arguments.get("transposed"):
        return weight.shape[0] // int(call.arguments.get("groups", 1)) * math.prod(weight.shape[2:])
    return weight[0].numel()


def _length(name: str) -> Callable[[Call], int]:
    return lambda call: int(call[name].shape[-1])


def _along(call: Call) -> int:
    return int(call.first.shape[call["dim"]]) if call.first.dim() else 1


def _adaptive_window(call: Call) -> int:
    """The largest window: sizes that do not divide reach one element further on both sides."""
    sizes = zip(call.first.shape[::-1], call.result.shape[::-1], call["output_size"][::-1], strict=False)
    return math.prod(-(-size // max(1, pooled)) + 1 for size, pooled, _ in sizes)


def _root_of_sum(call: Call) -> Rounding:
    """A norm; all that is added has one sign. Of the first power it is a sum, of infinity exact."""
    return call.result.abs(), _reduced(call)


def _product(call: Call) -> Rounding:
    return call.result.abs(), max(1, _along(call) if "dim" in call.arguments else call.first.numel())


def _log_sum(call: Call) -> Rounding:
    terms = _reduced(call) if call.result.shape != call.first.shape else _along(call)
    return call.result.abs() + call.first.abs().amax() + math.sqrt(terms), 1


def _softmax(call: Call) -> Rounding:
    """As softmax_limit of tolerance.py has it."""
    x, dim = call.first, call["dim"]
    shifted = (x.amax(dim, keepdim=True) - x).nan_to_num(0.0, 0.0, 0.0)
    return call.result.abs() * (shifted / 4 + 1 + math.sqrt(_along(call))), 1


def _log_softmax(call: Call) -> Rounding:
    x = call.first
    largest = x.amax(call["dim"], keepdim=True).abs()
    return call.result.abs() + x.abs() + largest + math.sqrt(_along(call)) / 4 + 1, 1


def _attention(call: Call) -> Rounding:
    """Errors of the scores are relative errors of the weights, which are then averaged with the values."""
    query, key, value = call["query"], call["key"], call["value"]
    width, length = query.shape[-1], key.shape[-2]
    scale = call.arguments.get("scale") or 1 / math.sqrt(width)
    scores = query @ key.transpose(-2, -1) * scale
    magnitude = (query.abs() @ key.abs().transpose(-2, -1)) * abs(scale) * math.sqrt(width)
    mask = call.arguments.get("attn_mask", call.arguments.get("attn_bias"))
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(scores).masked_fill(~mask, -math.inf)
        scores, magnitude = scores + mask, magnitude + mask.abs().nan_to_num(0.0, 0.0, 0.0)
    if call.arguments.get("is_causal"):
        scores = scores + torch.full(scores.shape[-2:], -math.inf, dtype=scores.dtype).triu(1)
    weights = scores.softmax(-1).nan_to_num(0.0)
    shifted = (scores.amax(-1, keepdim=True) - scores).nan_to_num(0.0, 0.0, 0.0)
    return (weights * (magnitude + shifted / 4 + 1 + math.sqrt(length))) @ value.abs(), 1


def _weight_norm(call: Call) -> Rounding:
    return call.result.abs(), max(1, call.first.numel() // max(1, call["g"].numel()))


def _scattered(call: Call) -> int:
    """At most so many values meet in one element as there are values."""
    values = call.arguments.get("src", call.arguments.get("source"))
    if not isinstance(values, Tensor):
        return 2
    return 1 + (int(values.shape[call["dim"]]) if values.dim() else 1)


def _scatter_reduce(call: Call) -> Rounding:
    if call.arguments.get("reduce") in ("prod", "multiply"):
        return call.result.abs(), _scattered(call)
    return call.on_absolute_values(), _scattered(call)


def _put(call: Call) -> Rounding:
    return call.on_absolute_values(), 1 + int(call["values"].numel())


def _put_is_exact(call: Call) -> Tensor:
    return torch.full_like(call.result, not call.arguments.get("accumulate"), dtype=torch.bool)


def _choice_is_exact(call: Call) -> Tensor:
    return torch.full_like(call.result, call.arguments.get("reduce") in (None, "amax", "amin"), dtype=torch.bool)


def _distance(call: Call) -> Rounding:
    """Squares of lengths may be added and twice the product taken away."""
    x, y = call["x1"], call["x2"]
    squares = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2)
    absolute = 4 * call.unit * math.sqrt(x.shape[-1]) * squares
    error = torch.minimum(absolute.sqrt(), absolute / call.result.abs())
    return call.result.abs() + error / (4 * call.unit), x.shape[-1]


_PRODUCTS: Mapping[str, Callable[[Call], int]] = {
    "convolution": _convolved,
    "_convolution": _convolved,
    **{f"conv{n}d": _convolved for n in (1, 2, 3)},
    **{name: _length("self") for name in ("mm", "bmm", "mv", "dot", "vdot", "matmul")},
    **{name: _length("mat1") for name in ("addmm", "_addmm_activation")},
    "addmv": _length("mat"),
    "baddbmm": _length("batch1"),
    "addbmm": lambda call: int(call["batch1"].shape[-1] * call["batch1"].shape[0]),
    "addr": lambda call: 2,
    "linear": _length("input"),
    "_trilinear": lambda call: int(call["i1"].shape[-1] * call["i3"].shape[-1]),
}
_SUMS: Mapping[str, Callable[[Call], int]] = {
    **{name: _reduced for name in ("mean", "sum", "nansum", "trace")},
    "cumsum": _along,
    **{f"_adaptive_avg_pool{n}d": _adaptive_window for n in (2, 3)},
    "adaptive_avg_pool1d": _adaptive_window,
    **{f"avg_pool{n}d": lambda call: math.prod(call["kernel_size"]) for n in (1, 2, 3)},
    "col2im": lambda call: math.prod(call["kernel_size"]),
    **{name: _scattered for name in ("scatter_add", "index_add")},
    "_embedding_bag_forward_only": lambda call: int(call["indices"].numel()),
}
RULES: Mapping[str, Rule] = {
    **{name: _sum_of(terms) for name, terms in {**_PRODUCTS, **_SUMS}.items()},
    **{name: Rule(_root_of_sum) for name in ("linalg_vector_norm", "norm")},
    **{name: Rule(_product) for name in ("prod", "cumprod")},
    **{name: Rule(_log_sum) for name in ("logsumexp", "logcumsumexp")},
    **{name: Rule(_softmax) for name in ("_softmax", "_safe_softmax", "softmax")},
    **{name: Rule(_log_softmax) for name in ("_log_softmax", "log_softmax")},
    **{
        f"_scaled_dot_product_{name}": Rule(_attention)
        for name in ("flash_attention_for_cpu", "fused_attention_overrideable", "attention_math")
    },
    **{name: Rule(_scatter_reduce, _choice_is_exact) for name in ("scatter", "scatter_reduce")},
    **{name: Rule(_put, _put_is_exact) for name in ("index_put", "put", "_index_put_impl")},
    "_weight_norm_interface": Rule(_weight_norm),
    "_cdist_forward": Rule(_distance),
}
