"""Shapes that the checks on a GPU use: ordinary ones, and such that try every tile, tail and alignment."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from tests.gpu import references


def _noise(seed: int, shape: tuple[int, ...], dtype: torch.dtype, device: str, spread: float = 1.0) -> Tensor:
    """The same numbers on every device; rounded to `dtype` at once, so that references see what kernels see."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * spread).to(device, dtype)


@dataclass(frozen=True)
class AdderInputs:
    """Tensors of one case of the adder convolution."""

    case: Adder
    x: Tensor
    w: Tensor
    scale: Tensor
    shift: Tensor
    residual: Tensor | None

    def reference(self, stored: torch.dtype) -> references.Reference:
        return references.adder_reference(
            self.x, self.w, self.scale, self.shift, self.residual,
            self.case.stride, self.case.padding, self.case.relu, stored,
        )  # fmt: skip


@dataclass(frozen=True)
class Adder:
    batch: int
    channels: int
    height: int
    width: int
    filters: int
    kernel: int
    stride: int
    padding: int
    residual: bool = False
    relu: bool = False

    @property
    def output(self) -> tuple[int, int, int, int]:
        rows, columns = (
            (size + 2 * self.padding - self.kernel) // self.stride + 1 for size in (self.height, self.width)
        )
        return self.batch, self.filters, rows, columns

    @property
    def taps(self) -> int:
        """Absolute differences of the whole batch."""
        return prod(self.output) * self.channels * self.kernel**2

    def inputs(self, dtype: torch.dtype, device: str) -> AdderInputs:
        scale, shift = (_noise(i, (self.filters,), torch.float32, device) for i in (2, 3))
        return AdderInputs(
            self,
            _noise(0, (self.batch, self.channels, self.height, self.width), dtype, device),
            _noise(1, (self.filters, self.channels, self.kernel, self.kernel), dtype, device, 3.0),
            0.1 * scale,
            10.0 * shift,
            _noise(4, self.output, dtype, device) if self.residual else None,
        )

    def bytes_of(self, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """X and W of an 8-bit type, scale and shift of float32."""
        generator = torch.Generator().manual_seed(5)
        low = -128 if dtype == torch.int8 else 0
        shapes = [
            (self.batch, self.channels, self.height, self.width),
            (self.filters, self.channels, *[self.kernel] * 2),
        ]
        x, w = (torch.randint(low, low + 256, s, generator=generator).to(device, dtype) for s in shapes)
        scale, shift = (_noise(i, (self.filters,), torch.float32, device) for i in (2, 3))
        return x, w, 0.01 * scale, 10.0 * shift


ADDER = [
    Adder(2, 16, 32, 32, 16, 3, 1, 1),
    Adder(1, 64, 56, 56, 64, 3, 1, 1, residual=True, relu=True),
    Adder(1, 512, 7, 7, 512, 3, 1, 1, residual=True),
    Adder(3, 128, 28, 28, 130, 3, 1, 1, relu=True),
    Adder(3, 17, 23, 19, 33, 5, 2, 2, residual=True, relu=True),
    Adder(1, 3, 4, 4, 5, 7, 1, 2),
    Adder(4, 64, 14, 15, 256, 1, 2, 0),
]


@dataclass(frozen=True)
class Filter:
    batch: int
    channels: int
    height: int
    width: int
    kernel_size: int
    stride: int
    groups: int
    joint: bool

    def inputs(self, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
        """X and logits."""
        rows, columns = (-(-size // self.stride) for size in (self.height, self.width))
        x = _noise(0, (self.batch, self.channels, self.height, self.width), dtype, device)
        return x, _noise(1, (self.batch, self.groups * self.kernel_size**2, rows, columns), dtype, device, 3.0)


FILTER = [
    Filter(1, 64, 56, 56, 3, 1, 8, True),
    Filter(2, 64, 56, 57, 3, 2, 8, True),
    Filter(1, 512, 14, 14, 3, 2, 8, True),
    Filter(2, 24, 9, 31, 3, 1, 24, True),
    Filter(1, 20, 33, 17, 5, 1, 1, False),
    Filter(3, 6, 8, 11, 7, 2, 2, False),
    Filter(1, 9, 2, 2, 3, 1, 3, True),
]


@dataclass(frozen=True)
class Gate:
    batch: int
    channels: int
    height: int
    width: int
    hidden: int
    paths: int
    shrink: int
    threshold_per_sample: bool

    def inputs(self, dtype: torch.dtype, device: str) -> tuple[tuple[Tensor, ...], Tensor]:
        """(X, W1, b1, W2, b2) and the threshold; X and W1 of `dtype`, the others float32."""
        x = _noise(0, (self.batch, self.channels, self.height, self.width), dtype, device)
        w1 = _noise(1, (self.hidden, self.channels), dtype, device, self.channels**-0.5)
        shapes = [(self.hidden,), (self.paths, self.hidden), (self.paths,)]
        rest = (_noise(i, s, torch.float32, device, 0.3) for i, s in enumerate(shapes, 2))
        count = self.batch if self.threshold_per_sample else 1
        return (x, w1, *rest), _noise(5, (count,), torch.float32, device, 0.3)


GATE = [
    Gate(1, 64, 64, 128, 32, 3, 1, False),
    Gate(4, 64, 32, 33, 32, 3, 4, True),
    Gate(2, 256, 16, 31, 128, 3, 1, False),
    Gate(3, 300, 7, 9, 150, 2, 1, True),
    Gate(1, 2, 400, 380, 3, 1, 1, False),
    Gate(2, 512, 8, 16, 256, 2, 4, False),
]


@dataclass(frozen=True)
class Decision:
    batch: int
    paths: tuple[int, ...]  # of each node
    reached: int
    flags: int

    def inputs(self, device: str) -> list[Tensor]:
        """gates, live, belongs, reach, shown; gates are multiples of 2^-15, so that every sum of them is exact."""
        generator = torch.Generator().manual_seed(6)

        def draw(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator)

        nodes, paths = len(self.paths), sum(self.paths)
        most = torch.where(draw(self.batch, paths) < 0.5, 3.0, 2.0**15)  # below 1e-4, or any
        gates = (draw(self.batch, paths) * most).round() / 2**15 * (draw(self.batch, paths) < 0.6)
        live = (draw(self.batch, nodes) < 0.8).float()
        belongs = torch.eye(nodes)[torch.arange(nodes).repeat_interleave(torch.tensor(self.paths))]
        matrices = ((draw(paths + 3 * nodes, count) < 0.1).float() for count in (self.reached, self.flags))
        return [t.to(device).contiguous() for t in (gates, live, belongs, *matrices)]


DECISION = [
    Decision(1, (2, 3, 3, 2), 4, 37),
    Decision(200, (2, 3, 3, 2), 4, 37),
    Decision(1, (1,), 1, 1),
    Decision(9, (1,) * 40, 33, 65),
]
