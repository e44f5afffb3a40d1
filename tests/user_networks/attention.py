"""Networks with attention, as users write them: by PyTorch's module, by its function, and by hand."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adroit.models.layers.adder import AdderConv2d
from adroit.models.layers.anti_aliasing import AdaptiveAntiAlias


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.1 if self.training else 0.0)
        result: Tensor = self.proj(y.transpose(1, 2).reshape(b, n, c))
        return result


class Block(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(approximate="tanh"), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class AdderViT(nn.Module):
    """A vision transformer with an adder convolution and an adaptive filter as its stem; any size.

    The learned table of positions is resampled to the map, as DINO's code does.
    """

    def __init__(self, dim: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.stem = AdderConv2d(3, dim, 4, stride=4)
        self.bn = nn.BatchNorm2d(dim)
        self.blur = AdaptiveAntiAlias(dim, 3, 2, 4)
        self.cls_token = nn.Parameter(0.1 * torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(0.1 * torch.randn(1, dim, 4, 4))
        self.blocks = nn.ModuleList(Block(dim, 4) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blur(self.bn(self.stem(x)))
        positions = F.interpolate(self.pos_embed, size=x.shape[-2:], mode="bicubic", align_corners=False)
        x = (x + positions).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.head(self.norm(x)[:, 0])
        return result


class WindowAttention(nn.Module):
    """Attention by hand within windows, with a table of relative positions and a mask."""

    def __init__(self, dim: int = 16, heads: int = 2, window: int = 4) -> None:
        super().__init__()
        self.dim, self.heads, self.window = dim, heads, window
        self.embed = nn.Conv2d(3, dim, 2, 2)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.bias_table = nn.Parameter(0.1 * torch.randn((2 * window - 1) ** 2, heads))
        steps = torch.arange(window)
        coords = torch.stack(torch.meshgrid(steps, steps, indexing="ij")).flatten(1)
        relative = (coords[:, :, None] - coords[:, None, :]) + window - 1
        self.register_buffer("index", relative[0] * (2 * window - 1) + relative[1])
        self.register_buffer("mask", torch.triu(torch.full((window**2, window**2), -math.inf), 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        s = self.window
        x = x.view(b, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, s * s, c)
        qkv = self.qkv(x).view(-1, s * s, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0] * (c // self.heads) ** -0.5, qkv[1], qkv[2]
        bias = self.bias_table[self.index.view(-1)].view(s * s, s * s, -1).permute(2, 0, 1)  # type: ignore[operator]
        scores = q @ k.transpose(-2, -1) + bias.unsqueeze(0) + self.mask
        x = self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, s * s, c))
        x = x.view(b, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return x.permute(0, 3, 1, 2)


class TokenEncoder(nn.Module):
    """PyTorch's own encoder layer over tokens of any number, with sine positions computed on the way."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(dim, 2, 32, batch_first=True, norm_first=True)
        self.attention = nn.MultiheadAttention(dim, 2, batch_first=True)
        self.dim = dim

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        position = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(1)
        rates = torch.exp(torch.arange(0, self.dim, 2) * (-math.log(10000.0) / self.dim))
        angles = position * rates
        table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
        x = self.layer(tokens + table)
        y, weights = self.attention(x, x, x)
        return y, weights
