"""What the kernels must give, in float64, with how far a right float32 kernel may be from it.

The limit of an element is that of deploy/parity/tolerance.py: the rounding of a sum of so many terms of this
magnitude, and of the type that it is stored in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from adroit.models.operators.adaptive_filter import adaptive_filter
from adroit.models.operators.adder_conv2d import adder_conv2d
from adroit.models.operators.routing_gate import shrink_for_gate

ROUNDOFF = 2.0**-24


@dataclass(frozen=True)
class Reference:
    """Values and limits, float64, of one shape."""

    value: Tensor
    limit: Tensor

    def used(self, output: Tensor) -> float:
        """The largest share of its limit that an element uses; infinite where one is not a number."""
        share = (output.double() - self.value).abs() / self.limit
        return float("inf") if bool(share.isnan().any()) else float(share.max())


def _rounding(value: Tensor, magnitude: Tensor, terms: int) -> Tensor:
    return ROUNDOFF * (value.abs() + 4.0 * terms**0.5 * magnitude) + 1e-30


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    """How far rounding to `dtype` moves a value."""
    if dtype != torch.float16:
        return torch.zeros_like(value)
    return value.abs() * 2.0**-11 + 2.0**-25


def adder_reference(
    x: Tensor,
    w: Tensor,
    scale: Tensor,
    shift: Tensor,
    residual: Tensor | None,
    stride: int,
    padding: int,
    relu: bool,
    stored: torch.dtype,
) -> Reference:
    """Of AdderConv2d and, with a residual, AdderConv2dAdd; inputs of any floating type."""
    total = adder_conv2d(x.double(), w.double(), stride, padding)
    factor, offset = (v.double()[:, None, None] for v in (scale, shift))
    rest = torch.zeros_like(total) if residual is None else residual.double()
    value = factor * total + offset + rest
    magnitude = factor.abs() * total.abs() + offset.abs() + rest.abs()
    if relu:
        value = value.relu()
    return Reference(value, _rounding(value, magnitude, w[0].numel()) + _stored(value, stored))


def quantized_reference(
    x: Tensor, w: Tensor, scale: Tensor, shift: Tensor, stride: int, padding: int, zero_point: int
) -> Reference:
    """Of the 8-bit adder convolution with a float32 output: every bit is defined (plugins/operators.toml)."""
    padded = functional.pad(x.double(), [padding] * 4, value=float(zero_point))
    total = adder_conv2d(padded, w.double(), stride, 0).float()
    value = shift[:, None, None] + scale[:, None, None] * total
    return Reference(value.double(), torch.full_like(value, 1e-30, dtype=torch.float64))


def filter_reference(
    x: Tensor, logits: Tensor, kernel_size: int, stride: int, groups: int, joint: bool, stored: torch.dtype
) -> Reference:
    """Of AdaptiveFilter. A weight's error is that of its exponent, of its exponential and of the softmax's sum."""
    arguments = (kernel_size, stride, groups, joint)
    value = adaptive_filter(x.double(), logits.double(), *arguments)
    magnitude = adaptive_filter(x.double().abs(), logits.double(), *arguments)
    terms = kernel_size**2 * (groups if joint else 1)
    spread = float(logits.double().amax() - logits.double().amin())
    weights = ROUNDOFF * (spread + 4.0 + 4.0 * terms**0.5) * magnitude
    return Reference(value, _rounding(value, magnitude, kernel_size**2) + weights + _stored(value, stored))


def gate_reference(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, shrink: int) -> Reference:
    """Of RoutingGate's max(0, tanh(...)), before the threshold."""
    x, w1, b1, w2, b2 = (t.double() for t in (x, w1, b1, w2, b2))
    seen, size = (shrink_for_gate(t) if shrink > 1 else t for t in (x, x.abs()))
    hidden = functional.conv2d(seen, w1[:, :, None, None], b1)
    hidden_size = functional.conv2d(size, w1.abs()[:, :, None, None], b1.abs())
    mean = hidden.relu().mean((2, 3))
    positions = hidden[0, 0].numel()
    limit = _rounding(hidden, hidden_size, w1.shape[1] + 5).mean((2, 3)) + _rounding(mean, mean, positions)
    logit, magnitude = functional.linear(mean, w2, b2), functional.linear(mean, w2.abs(), b2.abs())
    value = logit.tanh().relu()
    limit = functional.linear(limit, w2.abs()) + _rounding(logit, magnitude, w2.shape[1] + 1)
    return Reference(value, limit + 4.0 * ROUNDOFF * value + 1e-30)


def gates_are_right(reference: Reference, threshold: Tensor, gates: Tensor, is_open: Tensor) -> bool:
    """Whether gates are 0 or the value, on the right side of the threshold; nearer to it than the limit both are."""
    above = threshold.double().clamp_min(0.0)[:, None]
    closed, value = gates == 0.0, gates.double()
    may_be_closed = reference.value <= above + reference.limit
    may_be_open = reference.value >= above - reference.limit
    near = (value - reference.value).abs() <= reference.limit
    right = torch.where(closed, may_be_closed, may_be_open & near)
    return bool(right.all()) and bool((is_open == (~closed).any(0)).all())


def decision_reference(gates: Tensor, live: Tensor, belongs: Tensor, reach: Tensor, shown: Tensor) -> list[Tensor]:
    """Of RoutingDecision: counted, opened, reached, flags; exact where sums of gates are."""
    gates, live, belongs, reach, shown = (t.double() for t in (gates, live, belongs, reach, shown))
    opened = ((gates @ belongs >= 1e-4) & (live > 0)).double()
    counted = gates * (opened @ belongs.T)
    states = torch.cat([counted, opened, 1 - opened, live], 1)
    return [counted.float(), opened.float(), (states @ reach > 0).float(), (states @ shown > 0).any(0)]
