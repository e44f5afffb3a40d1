"""The adaptive anti-aliasing filter: each position and channel group is blurred by its own kernel.

Source: arXiv 2008.09604, section 3. The official code filters every position and then drops those
that the stride skips; here only the kept ones are computed, which gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.operators.shapes import kept_size

FILTER_SIZES = (3, 5, 7)
STRIDES = (1, 2)
# Elements of a padded copy of some channels of X. Channels are worked through in pieces of this
# size: a piece fits a cache, and no second copy of X is ever held.
CHUNK_ELEMENTS = 1 << 18


def check_inputs(x: Tensor, logits: Tensor, kernel_size: int, stride: int, groups: int) -> None:
    """Raises UsageError for shapes and arguments that the operator does not take."""
    if kernel_size not in FILTER_SIZES or stride not in STRIDES:
        raise UsageError(
            f"adaptive_filter takes kernel_size 3, 5 or 7 and stride 1 or 2, got {kernel_size} and {stride}"
        )
    if x.dim() != 4 or logits.dim() != 4:
        raise UsageError(
            f"adaptive_filter takes X [N,C,H,W] and logits [N,G*k*k,Ho,Wo], got {_shape(x)} and {_shape(logits)}"
        )
    if x.numel() == 0:
        raise UsageError(f"adaptive_filter: empty input: X is {_shape(x)}")
    if groups < 1 or x.shape[1] % groups != 0:
        raise UsageError(f"adaptive_filter: X has {x.shape[1]} channels, which {groups} groups do not divide")
    if min(x.shape[2:]) <= kernel_size // 2:
        raise UsageError(f"adaptive_filter: X ({_shape(x)}) is too small to reflect by {kernel_size // 2} pixels")
    expected = (x.shape[0], groups * kernel_size**2, kept_size(x.shape[2], stride), kept_size(x.shape[3], stride))
    if tuple(logits.shape) != expected:
        expected_shape = "x".join(map(str, expected))
        raise UsageError(f"adaptive_filter: logits has shape {_shape(logits)}, expected {expected_shape}")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))


@torch.library.custom_op("adroit::adaptive_filter", mutates_args=())
def adaptive_filter(
    x: Tensor, logits: Tensor, kernel_size: int, stride: int, groups: int, joint_softmax: bool
) -> Tensor:
    """Y[n,c,oh,ow] = sum over taps t of w[n,j,t,oh,ow] * Xpad[n,c,oh*stride + t//k, ow*stride + t%k].

    w is the softmax of the logits, j = c // (C/G) the channel's group, and Xpad is X reflect-padded
    by k // 2. Channel j*k*k + t of the logits is tap t (row-major) of group j.

    Args:
        x: [N,C,H,W], float32 or float64, H and W above k // 2.
        logits: [N,G*k*k,Ho,Wo], x's dtype.
        kernel_size: k in pixels: 3, 5 or 7.
        stride: 1 or 2 pixels.
        groups: G; divides C.
        joint_softmax: one softmax over all G*k*k channels (the official code: a group's weights
            then sum to 1/G on average), else one for each group (the paper's text: each sums to 1).

    Returns:
        [N,C,Ho,Wo] of x's dtype, Ho = ceil(H / stride).

    Raises:
        UsageError: shapes or arguments that do not fit.

    A training step holds X, logits, Y, their gradients, and two tensors of the logits' size.
    """
    check_inputs(x, logits, kernel_size, stride, groups)
    weights = _softmax(logits, groups, joint_softmax)
    out = x.new_zeros(x.shape[0], x.shape[1], *logits.shape[2:])
    for group, channels in _pieces(x, kernel_size, groups):
        padded = _padded(x[:, channels], kernel_size)
        for tap, window in enumerate(_windows(padded, logits, kernel_size, stride)):
            out[:, channels].addcmul_(window, weights[:, group, tap, None])
    return out


@adaptive_filter.register_fake
def _(x: Tensor, logits: Tensor, kernel_size: int, stride: int, groups: int, joint_softmax: bool) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], kept_size(x.shape[2], stride), kept_size(x.shape[3], stride))


def _softmax(logits: Tensor, groups: int, joint: bool) -> Tensor:
    """Weights [N,G,k*k,Ho,Wo]."""
    grouped = logits.unflatten(1, (groups, -1))
    return logits.softmax(1).view_as(grouped) if joint else grouped.softmax(2)


def _pieces(x: Tensor, kernel_size: int, groups: int) -> Iterator[tuple[int, slice]]:
    """Runs of channels of one group, each with that group's index."""
    pad = kernel_size // 2
    plane = x.shape[0] * (x.shape[2] + 2 * pad) * (x.shape[3] + 2 * pad)
    step = max(1, CHUNK_ELEMENTS // plane)
    size = x.shape[1] // groups
    for group in range(groups):
        for first in range(group * size, (group + 1) * size, step):
            yield group, slice(first, min(first + step, (group + 1) * size))


def _padded(x: Tensor, kernel_size: int) -> Tensor:
    return functional.pad(x, [kernel_size // 2] * 4, mode="reflect")


def _windows(padded: Tensor, logits: Tensor, kernel_size: int, stride: int) -> Iterator[Tensor]:
    """For each tap the view of `padded` that it meets at the kept positions, [N,c,Ho,Wo]."""
    height, width = logits.shape[2:]
    for row in range(kernel_size):
        for column in range(kernel_size):
            rows = slice(row, row + (height - 1) * stride + 1, stride)
            columns = slice(column, column + (width - 1) * stride + 1, stride)
            yield padded[:, :, rows, columns]


def _fold_reflection(padded: Tensor, kernel_size: int) -> Tensor:
    """Adjoint of `_padded`: the border's values are added, in place, to the pixels that it mirrors."""
    pad = kernel_size // 2
    for dimension in (2, 3):
        size = padded.shape[dimension] - 2 * pad
        padded.narrow(dimension, pad + 1, pad).add_(padded.narrow(dimension, 0, pad).flip(dimension))
        mirrored = padded.narrow(dimension, size - 1, pad)
        mirrored.add_(padded.narrow(dimension, size + pad, pad).flip(dimension))
        padded = padded.narrow(dimension, pad, size)
    return padded


@torch.library.custom_op("adroit::adaptive_filter_backward", mutates_args=())
def _backward(
    gradient: Tensor,
    x: Tensor,
    logits: Tensor,
    kernel_size: int,
    stride: int,
    groups: int,
    joint_softmax: bool,
    need_x: bool,
    need_logits: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of X and of the logits; the softmax is computed again rather than kept.

    dL/dw[j,t] = sum over the group's channels of g * window(t)
    dL/dX = sum over taps of w[t] * g, scattered to window(t)
    dL/dlogits = w * (dL/dw - sum over the softmax's channels of w * dL/dw)
    """
    weights = _softmax(logits, groups, joint_softmax)
    grad_weights = torch.zeros_like(weights)
    grad_x = torch.empty_like(x)
    for group, channels in _pieces(x, kernel_size, groups):
        g = gradient[:, channels]
        if need_logits:
            padded = _padded(x[:, channels], kernel_size)
            for tap, window in enumerate(_windows(padded, logits, kernel_size, stride)):
                grad_weights[:, group, tap] += (g * window).sum(1)
            del padded
        if need_x:
            pad = kernel_size // 2
            grad_padded = g.new_zeros(*g.shape[:2], x.shape[2] + 2 * pad, x.shape[3] + 2 * pad)
            for tap, window in enumerate(_windows(grad_padded, logits, kernel_size, stride)):
                window.addcmul_(g, weights[:, group, tap, None])
            grad_x[:, channels] = _fold_reflection(grad_padded, kernel_size)
    if need_logits:
        # A group at a time and in place: no third tensor of this size.
        blocks = 1 if joint_softmax else groups
        mean = weights.new_zeros(weights.shape[0], blocks, 1, *weights.shape[3:])
        for group in range(groups):
            products = weights[:, group] * grad_weights[:, group]
            mean[:, group % blocks] += products.sum(1, keepdim=True)
        grad_weights.sub_(mean).mul_(weights)
    return grad_x, grad_weights.view_as(logits)


@_backward.register_fake
def _(
    gradient: Tensor,
    x: Tensor,
    logits: Tensor,
    kernel_size: int,
    stride: int,
    groups: int,
    joint_softmax: bool,
    need_x: bool,
    need_logits: bool,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(logits)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, logits, *ctx.arguments = inputs
    ctx.save_for_backward(x, logits)


def _autograd(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
    x, logits = ctx.saved_tensors
    need_x, need_logits = ctx.needs_input_grad[:2]
    grad_x, grad_logits = _backward(gradient, x, logits, *ctx.arguments, need_x, need_logits)
    return grad_x if need_x else None, grad_logits if need_logits else None, None, None, None, None


adaptive_filter.register_autograd(_autograd, setup_context=_setup_context)
# Mixed precision leaves the softmax and its sums in float32.
for _device in ("cpu", "cuda"):
    adaptive_filter.register_autocast(_device, torch.float32)
