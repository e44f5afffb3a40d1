"""The gate of a routed node: which of its paths are open for a sample, and how far.

Source: Dynamic Routing, arXiv 2003.10401, section 3.3; the small gate's shrink by 4 is the official
code's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from adroit.errors import UsageError

SMALL_GATE_SHRINK = 4


def check_inputs(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, threshold: Tensor, shrink: int) -> None:
    """Raises UsageError for shapes that the operator does not take."""
    ranks = {"X": (x, 4), "W1": (w1, 2), "b1": (b1, 1), "W2": (w2, 2), "b2": (b2, 1), "threshold": (threshold, 1)}
    for name, (tensor, rank) in ranks.items():
        if tensor.dim() != rank:
            raise UsageError(f"routing_gate: {name} has shape {_shape(tensor)}, expected {rank} dimensions")
    if shrink not in (1, SMALL_GATE_SHRINK):
        raise UsageError(f"routing_gate takes shrink 1 or {SMALL_GATE_SHRINK}, got {shrink}")
    if 0 in (*x.shape, *w1.shape, *w2.shape):
        raise UsageError(f"routing_gate: empty input: X is {_shape(x)}, W1 is {_shape(w1)}, W2 is {_shape(w2)}")
    if x.shape[1] != w1.shape[1]:
        raise UsageError(f"routing_gate: X has {x.shape[1]} channels, W1 expects {w1.shape[1]}")
    if w1.shape[0] != w2.shape[1]:
        raise UsageError(f"routing_gate: W1 gives {w1.shape[0]} hidden channels, W2 expects {w2.shape[1]}")
    if b1.shape[0] != w1.shape[0] or b2.shape[0] != w2.shape[0]:
        raise UsageError(
            f"routing_gate: b1 has {_shape(b1)} and b2 {_shape(b2)} values, W1 is {_shape(w1)}, W2 is {_shape(w2)}"
        )
    if threshold.shape[0] not in (1, x.shape[0]):
        raise UsageError(f"routing_gate: threshold has {_shape(threshold)} values for {x.shape[0]} samples")
    if min(x.shape[2:]) < shrink:
        raise UsageError(
            f"routing_gate: X {_shape(x)} is smaller than the shrink of {shrink}",
            hint="a small gate needs at least 4 x 4 pixels at 1/32, that is 128 x 128 at the input",
        )


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))


def shrink_for_gate(x: Tensor) -> Tensor:
    """[N,C,H,W] to [N,C,floor(H/4),floor(W/4)]: bilinear, align_corners False, no antialias.

    That is the mean of the center 2 x 2 of every 4 x 4 block, whatever remains of H and W.
    """
    return functional.interpolate(x, scale_factor=1.0 / SMALL_GATE_SHRINK, mode="bilinear", align_corners=False)


def close_gates(value: Tensor, threshold: Tensor) -> Tensor:
    """`value` [N,P], 0 where it is not above max(threshold, 0); threshold [1] or [N]."""
    return torch.where(value > threshold.clamp_min(0.0)[:, None], value, torch.zeros_like(value))


@torch.library.custom_op("adroit::routing_gate", mutates_args=())
def routing_gate(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, threshold: Tensor, shrink: int
) -> tuple[Tensor, Tensor]:
    """max(0, tanh(W2 mean(relu(W1 X + b1)) + b2)), 0 where not above the threshold.

    For inference: it has no gradient. Training uses the modules that its weights come from
    (models/networks/dynamic_routing/gate.py).

    Args:
        x: [N,C,H,W], float32 or float64.
        w1: [Hd,C], b1: [Hd]: the 1 x 1 convolution with its batch norm folded in; x's dtype.
        w2: [P,Hd], b2: [P]: one row per path.
        threshold: [1] or [N]; a gate is open where its value is above it. Below 0 counts as 0.
        shrink: 1, or 4 for the small gate, which looks at x shrunk by 4.

    Returns:
        gates [N,P] of x's dtype, 0 <= gates < 1; open [P] bool: open for any sample.

    Raises:
        UsageError: shapes that do not fit, an empty batch, or fewer than 4 pixels with shrink 4.
    """
    check_inputs(x, w1, b1, w2, b2, threshold, shrink)
    seen = shrink_for_gate(x) if shrink == SMALL_GATE_SHRINK else x
    hidden = functional.conv2d(seen, w1[:, :, None, None], b1).relu_()
    value = functional.linear(hidden.mean((2, 3)), w2, b2).tanh_().relu_()
    gates = close_gates(value, threshold)
    return gates, (gates > 0).any(0)


@routing_gate.register_fake
def _(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, threshold: Tensor, shrink: int
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[0], w2.shape[0]), x.new_empty(w2.shape[0], dtype=torch.bool)
