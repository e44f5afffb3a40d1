"""The adder convolution: L1 distance where a convolution has a product.

Source: AdderNet, arXiv 1912.13200 (equation 2 forward; section 3.2 the gradients; section 3.3 the
normalization of the weight gradient).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from adroit.errors import UsageError
from adroit.models.operators.shapes import convolved_size

# Elements of the largest temporary of the backward pass on a CPU. The one-line form needs
# filters x taps x positions elements; this one works through it in pieces that fit a cache.
CHUNK_ELEMENTS = 1 << 18


def _images(x: Tensor) -> tuple[Tensor, ...]:
    """Divides the batch [N,C,H,W] into parts that are computed one after the other.

    On a CPU a part is an image, whose temporaries then fit a cache; elsewhere it is the whole batch, since each
    step of the work is a kernel to be launched.
    """
    parts: tuple[Tensor, ...] = x.split(1 if x.device.type == "cpu" else x.shape[0])
    return parts


def check_inputs(x: Tensor, weight: Tensor, stride: int, padding: int) -> None:
    """Raises UsageError for shapes that the operator does not take."""
    if x.dim() != 4 or weight.dim() != 4:
        raise UsageError(f"adder_conv2d takes X [N,C,H,W] and W [M,C,kH,kW], got {_shape(x)} and {_shape(weight)}")
    if stride < 1 or padding < 0:
        raise UsageError(f"adder_conv2d takes stride >= 1 and padding >= 0, got {stride} and {padding}")
    if x.shape[1] != weight.shape[1]:
        raise UsageError(f"adder_conv2d: X has {x.shape[1]} channels, W expects {weight.shape[1]}")
    if x.shape[0] == 0 or weight.shape[0] == 0:
        raise UsageError(f"adder_conv2d: empty input: X is {_shape(x)}, W is {_shape(weight)}")
    for size, kernel in zip(x.shape[2:], weight.shape[2:], strict=True):
        if size + 2 * padding < kernel:
            raise UsageError(f"adder_conv2d: X {_shape(x)} with padding {padding} is smaller than W {_shape(weight)}")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))


@torch.library.custom_op("adroit::adder_conv2d", mutates_args=())
def adder_conv2d(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Y[n,m,oh,ow] = -sum over c,kh,kw of |Xpad[n,c,oh*stride+kh,ow*stride+kw] - W[m,c,kh,kw]|.

    Zero padding is part of the sum: a padded tap contributes -|W|.

    Args:
        x: [N,C,H,W], float32 or float64.
        weight: [M,C,kH,kW], x's dtype.
        stride: step in pixels, both dimensions.
        padding: zeros in pixels, all four sides.

    Returns:
        [N,M,Ho,Wo] of x's dtype, Ho = floor((H + 2 padding - kH) / stride) + 1.

    Raises:
        UsageError: shapes that do not fit, or an empty batch.

    The gradients are the paper's, not the derivative: see `_backward`.
    """
    check_inputs(x, weight, stride, padding)
    height, width = output_size(x, weight, stride, padding)
    filters = weight.flatten(1)
    results = []
    for images in _images(x):
        taps = functional.unfold(images, weight.shape[2:], padding=padding, stride=stride)
        results.append(torch.cdist(filters[None], taps.transpose(1, 2), p=1.0).neg_())
    return torch.cat(results).view(x.shape[0], weight.shape[0], height, width)


def output_size(x: Tensor, weight: Tensor, stride: int, padding: int) -> tuple[int, int]:
    """Height and width of Y in pixels."""
    height, width = (convolved_size(x.shape[i], weight.shape[i], stride, padding, padding) for i in (2, 3))
    return height, width


@adder_conv2d.register_fake
def _(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], *output_size(x, weight, stride, padding))


def _clipped_distance_gradient(taps: Tensor, filters: Tensor, gradient: Tensor) -> Tensor:
    """Sum over filters m of clip(W[m] - X, -1, 1) * g[m], on a CPU in pieces.

    Args:
        taps: X's windows, [N, K, positions]. filters: W, [M, K]. gradient: g, [N, M, positions].

    Returns:
        [N, K, positions].
    """
    result = torch.zeros_like(taps)
    step = max(1, CHUNK_ELEMENTS // taps.shape[1]) if taps.device.type == "cpu" else taps.shape[2]
    for start in range(0, taps.shape[2], step):
        piece = taps[:, :, start : start + step].contiguous()
        total = torch.zeros_like(piece)
        difference = torch.empty_like(piece)
        for weights, g in zip(filters, gradient[:, :, start : start + step].unbind(1), strict=True):
            torch.sub(weights[:, None], piece, out=difference).clamp_(-1.0, 1.0)
            total.addcmul_(difference, g[:, None])
        result[:, :, start : start + step] = total
    return result


@torch.library.custom_op("adroit::adder_conv2d_backward", mutates_args=())
def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, need_x: bool, need_weight: bool
) -> tuple[Tensor, Tensor]:
    """The paper's gradients, before normalization.

    dL/dW[m,k] = sum over positions of (X - W) * g  (equation 6: full precision, not the sign)
    dL/dX[k]   = sum over filters of clip(W - X, -1, 1) * g  (equation 7: HardTanh)
    """
    grad_weight = weight_gradient(gradient, x, weight, stride, padding) if need_weight else torch.empty_like(weight)
    if not need_x:
        return torch.empty_like(x), grad_weight
    parts = []
    for images, g in zip(_images(x), _images(gradient), strict=True):
        taps = functional.unfold(images, weight.shape[2:], padding=padding, stride=stride)
        grad_taps = _clipped_distance_gradient(taps, weight.flatten(1), g.flatten(2))
        parts.append(functional.fold(grad_taps, x.shape[2:], weight.shape[2:], padding=padding, stride=stride))
    return torch.cat(parts), grad_weight


def weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """dL/dW, before normalization: of an ordinary convolution by X, less W times the sum of g; `weight`'s shape."""
    by_x: Tensor = conv2d_weight(x, weight.shape, gradient, stride, padding)
    return by_x.sub_(weight * gradient.sum((0, 2, 3))[:, None, None, None])


@_backward.register_fake
def _(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, need_x: bool, need_weight: bool
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(weight)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, ctx.stride, ctx.padding = inputs
    ctx.save_for_backward(x, weight)


def _autograd(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    x, weight = ctx.saved_tensors
    need_x, need_weight = ctx.needs_input_grad[:2]
    grad_x, grad_weight = _backward(gradient, x, weight, ctx.stride, ctx.padding, need_x, need_weight)
    return grad_x if need_x else None, grad_weight if need_weight else None, None, None


adder_conv2d.register_autograd(_autograd, setup_context=_setup_context)
# Mixed precision leaves it in float32: shorter types hold no adder sum (means near -3,000, deviations of 2 to 15).
for _device in ("cpu", "cuda"):
    adder_conv2d.register_autocast(_device, torch.float32)


def normalized(gradient: Tensor, eta: float) -> Tensor:
    """The gradient with the norm eta * sqrt(number of elements); 0 stays 0."""
    norm = gradient.norm().clamp_min(1e-12)
    result: Tensor = gradient * (eta * gradient.numel() ** 0.5 / norm)
    return result


class _NormalizedGradient(torch.autograd.Function):
    """Identity forward; backward rescales the gradient to the norm eta * sqrt(number of elements)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, eta: float) -> Tensor:
        ctx.eta = eta
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return normalized(gradient, ctx.eta), None


def normalize_gradient(weight: Tensor, eta: float) -> Tensor:
    """`weight` unchanged, its gradient scaled by eta * sqrt(k) / ||gradient||_2 (paper, equation 12).

    The result does not depend on the scale of the loss, so weight decay and momentum act after it;
    and it is not linear in the gradient: accumulating micro-batches is not one large batch.
    """
    normalized: Tensor = _NormalizedGradient.apply(weight, eta)
    return normalized
