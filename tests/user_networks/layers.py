"""The usual layers that no other network here has, many to a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Activations(nn.Module):
    """Each activation of PyTorch's in turn, so that every one of them meets values of both signs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.activations = nn.ModuleList(
            [
                nn.SiLU(), nn.GELU(), nn.ReLU6(), nn.Hardswish(), nn.Hardsigmoid(), nn.ELU(), nn.PReLU(8), nn.Mish(),
                nn.Softplus(), nn.SELU(), nn.CELU(), nn.LeakyReLU(0.2), nn.Hardtanh(), nn.Softsign(), nn.Tanhshrink(),
                nn.Softshrink(0.1), nn.Hardshrink(0.1), nn.LogSigmoid(), nn.Threshold(0.1, 0.0), nn.RReLU(),
                nn.Softmin(1), nn.GLU(1),
            ]
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return torch.cat([activation(x) for activation in self.activations], 1)


class Norms(nn.Module):
    """Group, instance, layer, RMS and local response normalization, and batch norm without its own factors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.group, self.instance = nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True)
        self.tracked = nn.InstanceNorm2d(8, track_running_stats=True)
        self.plain = nn.BatchNorm2d(8, affine=False)
        self.layer, self.rms = nn.LayerNorm(8), nn.RMSNorm(8)
        self.local = nn.LocalResponseNorm(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        last = x.permute(0, 2, 3, 1)
        moved = (self.layer(last) + self.rms(last)).permute(0, 3, 1, 2)
        y = self.group(x) + self.instance(x) + self.tracked(x) + self.plain(x) + moved + self.local(x)
        return F.normalize(y, dim=1)


class Movements(nn.Module):
    """Pixel and channel shuffles, unfold and fold, pads of every kind, gathers, sorts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.shuffle, self.channels, self.unshuffle = nn.PixelShuffle(2), nn.ChannelShuffle(4), nn.PixelUnshuffle(2)
        self.pads = nn.ModuleList([nn.ReplicationPad2d(1), nn.ReflectionPad2d(1), nn.ZeroPad2d(1), nn.CircularPad2d(1)])
        self.unfold = nn.Unfold(3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, _, h, w = x.shape
        y = self.unshuffle(self.shuffle(self.channels(self.conv(x))))
        y = sum(pad(y) for pad in self.pads)[:, :, 1:-1, 1:-1]
        columns = self.unfold(x)
        folded = F.fold(columns, (h, w), 3, padding=1)
        y[:, 0] = y[:, 0] + 1.0
        y[:, 1:3] *= 0.5
        best, where = torch.topk(y.flatten(2), 3, dim=2)
        picked = torch.gather(y.flatten(2), 2, where.flip(-1))
        flat = torch.zeros(b, 16, 4).index_add(2, torch.tensor([0, 2, 1]), best + picked)
        return folded.clamp(min=-1.0), flat, torch.einsum("bchw,dc->bdhw", y, self.conv.weight[:, :, 0, 0].t())


class Poolings(nn.Module):
    """Poolings and resampling of every kind, a grid sample, transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1, groups=2)
        self.maxpool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        pooled = F.adaptive_max_pool2d(x, 3) + F.adaptive_avg_pool2d(x, (3, 3))
        small, indices = self.maxpool(x)
        y = self.up(small) + self.unpool(small, indices, output_size=x.shape)
        y = y + F.interpolate(F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), x.shape[2:], mode="nearest-exact")
        y = y + F.interpolate(pooled, size=x.shape[2:], mode="bilinear", antialias=True)
        y = y + F.lp_pool2d(x, 2, 3, 1)[:, :, :1, :1]
        grid = torch.stack([pooled.mean(1)[:, :2], pooled.mean(1)[:, 1:]], -1).tanh()
        sampled = F.grid_sample(x, grid, align_corners=False)
        return y * sampled.mean((2, 3), keepdim=True)


class Coordinates(nn.Module):
    """Masks and coordinates computed on the way in PyTorch's default type, a branch by value, casts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(5, 8, 3, padding=1)
        self.other = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        rows = (torch.arange(h) / h).view(1, 1, h, 1).expand(b, 1, h, w)
        columns = (torch.arange(w).float() * 0.1).view(1, 1, 1, w).expand(b, 1, h, w)
        y = self.conv(torch.cat([x, rows, columns], 1))
        mask = torch.where(y.mean(1, keepdim=True) > 0, 1.0, 0.1)
        y = torch.cond(y.mean() > 0.0, lambda y: self.other(y), lambda y: y * 0.7, (y,))
        with torch.autocast("cpu", enabled=False):
            y = y.float() * mask
        return (y.to(torch.float32) * 0.1 + torch.full((h, w), 0.3)).type_as(x)


class TextReader(nn.Module):
    """Columns of an image read by a recurrent layer both ways, as in CRNN; weight and spectral normalization."""

    def __init__(self, characters: int = 12) -> None:
        super().__init__()
        self.conv1 = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 8, 3, 2, 1))
        self.conv2 = nn.utils.parametrizations.spectral_norm(nn.Conv2d(8, 8, 3, 2, 1))
        self.lstm = nn.LSTM(8, 16, bidirectional=True, batch_first=True, num_layers=2, dropout=0.1)
        self.gru = nn.GRU(32, 16)
        self.head = nn.Linear(16, characters)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.conv1(x).relu()).amax(2)
        x, _ = self.lstm(x.permute(0, 2, 1))
        x, _ = self.gru(x.transpose(0, 1))
        return self.head(x).log_softmax(-1)
