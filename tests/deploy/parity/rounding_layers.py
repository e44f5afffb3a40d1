"""Layers of vision networks, each of one image [2,8,12,10], for the tests of their rounding rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from adroit.deploy.parity.rounding_model import Limits

SHAPE = (2, 8, 12, 10)
Layer = Callable[[Tensor], Tensor]


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.attention(_tokens(x), _tokens(x), _tokens(x), need_weights=False)[0]
        return result


class _OnTokens(nn.Module):
    """A layer of tokens [2,120,8]."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(_tokens(x))
        return result


class _Weighted(nn.Module):
    """A function of the image and of a weight."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


def _sample(x: Tensor, grid: Tensor, **options: object) -> Tensor:
    return F.grid_sample(x, grid.tanh() * 1.2, align_corners=False, **options)  # type: ignore[arg-type]


def _gathered(x: Tensor) -> Tensor:
    return torch.gather(x, 3, torch.tensor([3, 1, 1]).expand(2, 8, 12, 3))


def _scattered(x: Tensor) -> Tensor:
    index = torch.tensor([0, 2, 1, 1, 0, 2, 1, 1, 2, 0]).expand(2, 8, 12, 10)
    return torch.zeros(2, 8, 12, 3, dtype=x.dtype).scatter_add(3, index, x)


def _replaced(x: Tensor) -> Tensor:
    return x.scatter(3, torch.tensor([4, 2]).expand(2, 8, 12, 2), x[..., :2] * 2)


def _added_product(x: Tensor) -> Tensor:
    added, a, b = x[:, :3, :8, :8].unbind(1)
    return torch.baddbmm(added, a, b, beta=0.3, alpha=2)


def _norm(layer: nn.Module) -> nn.Module:
    for tensor in (*layer.parameters(), *layer.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)
    return layer


def _activations() -> dict[str, Layer]:
    return {
        "silu": nn.SiLU(),
        "gelu": nn.GELU(),
        "gelu_tanh": nn.GELU("tanh"),
        "relu": nn.ReLU(),
        "relu6": nn.ReLU6(),
        "hardswish": nn.Hardswish(),
        "hardsigmoid": nn.Hardsigmoid(),
        "hardtanh": nn.Hardtanh(-0.3, 0.7),
        "elu": nn.ELU(),
        "celu": nn.CELU(0.7),
        "selu": nn.SELU(),
        "prelu": nn.PReLU(8),
        "leaky_relu": nn.LeakyReLU(0.1),
        "mish": nn.Mish(),
        "softplus": nn.Softplus(),
        "softsign": nn.Softsign(),
        "log_sigmoid": lambda x: F.logsigmoid(x.clamp(-6, 6)),
        "tanhshrink": nn.Tanhshrink(),
        "softshrink": nn.Softshrink(0.1),
        "hardshrink": nn.Hardshrink(0.1),
        "threshold": nn.Threshold(0.1, 0.3),
        "glu": nn.GLU(1),
        "softmin": nn.Softmin(1),
        "softmax": nn.Softmax(1),
        "log_softmax": nn.LogSoftmax(1),
        "sigmoid": nn.Sigmoid(),
        "tanh": nn.Tanh(),
    }


def _norms() -> dict[str, Layer]:
    return {
        "group_norm": _norm(nn.GroupNorm(2, 8)),
        "layer_norm": _norm(_OnTokens(nn.LayerNorm(8))),
        "layer_norm_shifted": lambda x: F.layer_norm(x + 3.0, (8, 12, 10)),
        "instance_norm": _norm(nn.InstanceNorm2d(8, affine=True)),
        "instance_norm_running": _norm(nn.InstanceNorm2d(8, track_running_stats=True)),
        "batch_norm": _norm(nn.BatchNorm2d(8)),
        "batch_norm_plain": _norm(nn.BatchNorm2d(8, affine=False)),
        "rms_norm": _OnTokens(nn.RMSNorm(8, eps=1e-6)),
        "local_response_norm": nn.LocalResponseNorm(3),
        "normalize": lambda x: F.normalize(x, dim=1),
        "variance": lambda x: x.var((2, 3)),
        "deviation": lambda x: x.std(1, unbiased=False),
        "norm": lambda x: x.norm(dim=1),
        "mean": lambda x: x.mean((2, 3)),
    }


def _poolings() -> dict[str, Layer]:
    return {
        "max_pool": nn.MaxPool2d(3, 2, 1),
        "avg_pool": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        "adaptive_avg_pool": nn.AdaptiveAvgPool2d((3, 5)),
        "global_avg_pool": nn.AdaptiveAvgPool2d(1),
        "adaptive_max_pool": nn.AdaptiveMaxPool2d((3, 5)),
        "lp_pool": nn.LPPool2d(2, 2),
        "nearest": nn.Upsample(scale_factor=2),
        "nearest_exact": nn.Upsample(scale_factor=2, mode="nearest-exact"),
        "bilinear": nn.Upsample(size=(19, 23), mode="bilinear"),
        "bilinear_aligned": nn.Upsample(size=(19, 23), mode="bilinear", align_corners=True),
        "bilinear_antialias": lambda x: F.interpolate(x, (5, 7), mode="bilinear", antialias=True),
        "bicubic": nn.Upsample(size=(19, 23), mode="bicubic"),
        "bicubic_antialias": lambda x: F.interpolate(x, (5, 7), mode="bicubic", antialias=True),
        "area": lambda x: F.interpolate(x, (4, 5), mode="area"),
        "linear_1d": lambda x: F.interpolate(x.flatten(1, 2), 17, mode="linear"),
        "trilinear": lambda x: F.interpolate(x[:, None], (9, 11, 23), mode="trilinear"),
        "grid_sample": _Weighted(_sample, 2, 5, 7, 2),
        "grid_sample_border": _Weighted(lambda x, grid: _sample(x, grid, padding_mode="border"), 2, 5, 7, 2),
        "grid_sample_cubic": _Weighted(lambda x, grid: _sample(x, grid, mode="bicubic"), 2, 5, 7, 2),
    }


def _products() -> dict[str, Layer]:
    return {
        "conv": nn.Conv2d(8, 6, 3, padding=1),
        "conv_grouped": nn.Conv2d(8, 6, 3, groups=2),
        "conv_dilated": nn.Conv2d(8, 6, 3, dilation=2),
        "conv_depthwise": nn.Conv2d(8, 8, 5, groups=8, bias=False),
        "conv_transpose": nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1, groups=2),
        "conv_1d": nn.Sequential(nn.Flatten(2), nn.Conv1d(8, 5, 3)),
        "conv_3d": nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Conv3d(2, 3, 3, padding=1)),
        "linear": _OnTokens(nn.Linear(8, 5)),
        "matmul": _Weighted(lambda x, weight: x @ weight, 10, 6),
        "einsum": _Weighted(lambda x, weight: torch.einsum("bchw,dc->bdhw", x, weight), 5, 8),
        "baddbmm": _added_product,
        "attention": lambda x: F.scaled_dot_product_attention(x.tanh(), x.tanh() * 0.7, x),
        "attention_causal": lambda x: F.scaled_dot_product_attention(x.tanh(), x.tanh() * 0.7, x, is_causal=True),
        "multihead_attention": _Attention(),
        "cumsum": lambda x: x.cumsum(3),
        "sum": lambda x: x.sum((1, 2)),
        "prod": lambda x: (x.abs() * 0.1 + 1).prod(3),
        "logsumexp": lambda x: x.logsumexp(1),
    }


def _movements() -> dict[str, Layer]:
    return {
        "pixel_shuffle": nn.PixelShuffle(2),
        "pixel_unshuffle": nn.PixelUnshuffle(2),
        "channel_shuffle": nn.ChannelShuffle(4),
        "replication_pad": nn.ReplicationPad2d(2),
        "reflection_pad": nn.ReflectionPad2d(2),
        "circular_pad": nn.CircularPad2d(2),
        "zero_pad": nn.ZeroPad2d((1, 0, 2, 1)),
        "unfold": nn.Unfold(3, padding=1),
        "fold": lambda x: F.fold(x.flatten(2)[:, :, :25], (6, 6), 2),
        "scatter": _replaced,
        "scatter_add": _scattered,
        "gather": _gathered,
        "index": lambda x: x[:, torch.tensor([3, 1, 1])],
        "index_select": lambda x: x.index_select(2, torch.tensor([0, 5])),
        "embedding": _Weighted(lambda x, table: F.embedding((x > 0.1).long().sum(1), table), 9, 4),
        "roll": lambda x: x.roll((1, 2), (2, 3)),
        "topk": lambda x: x.topk(3, 1)[0],
        "sort": lambda x: x.sort(3)[0],
        "amax": lambda x: x.amax((2, 3)),
        "where": lambda x: torch.where(x > 0.2, x, -x),
    }


def _arithmetic() -> dict[str, Layer]:
    return {
        "log": lambda x: torch.log(x.abs() + 0.5),
        "log1p": lambda x: torch.log1p(x.abs()),
        "expm1": lambda x: torch.expm1(x.clamp(max=5)),
        "exp": lambda x: torch.exp(x.clamp(max=5)),
        "sin": torch.sin,
        "cos": torch.cos,
        "atan": torch.atan,
        "erf": torch.erf,
        "rsqrt": lambda x: torch.rsqrt(x.square() + 0.1),
        "pow": lambda x: (x.abs() + 0.1) ** 1.7,
        "addcmul": lambda x: torch.addcmul(x, x.flip(1), x.roll(1, 2), value=0.3),
        "addcdiv": lambda x: torch.addcdiv(x, x.flip(1), x.abs() + 0.5, value=0.3),
        "lerp": lambda x: torch.lerp(x, x.flip(1), 0.3),
        "coordinates": lambda x: x * (torch.arange(10, dtype=x.dtype) / 10 + 0.1),
        "in_place": lambda x: x.clone().mul_(1.1).add_(0.3).relu_().clamp_(max=2.3),
    }


def layers() -> Mapping[str, Layer]:
    """Every layer by name, seeded."""
    torch.manual_seed(0)
    families = (_activations, _norms, _poolings, _products, _movements, _arithmetic)
    return {name: layer for family in families for name, layer in family().items()}


def image(seed: int) -> Tensor:
    """A random image whose channels' scales are between 0.01 and 10."""
    generator = torch.Generator().manual_seed(seed)
    scales = 10 ** (3 * torch.rand(1, SHAPE[1], 1, 1, generator=generator) - 2)
    return torch.randn(SHAPE, generator=generator) * scales


def off_by_a_little(found: Limits, name: str) -> NDArray[np.float32]:
    """Values that are wrong by 2% of the deviation of a reference."""
    reference = found.references[name]
    return (reference + 0.02 * reference.std()).float().numpy()
