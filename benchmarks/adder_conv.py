"""The native adder convolution against the unfold form in PyTorch and ONNX Runtime's convolution.

    python -m benchmarks.adder_conv

Every adder layer of ResNet-20 (CIFAR) and ResNet-18 (224 x 224), batch 1, one thread, float32, all
three interleaved in one process, in processor time. `unfold` is the usual way to write the operator in PyTorch: a
(filters x taps x positions) difference, its absolute value, its sum.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.measure import interleaved_medians, keep_results, node_session

SECONDS = 0.4


@dataclass(frozen=True)
class Layer:
    """A layer shape and how often the network has it."""

    network: str
    channels: int
    size: int
    filters: int
    kernel: int
    stride: int
    count: int

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def name(self) -> str:
        return f"{self.channels}->{self.filters}, {self.kernel} x {self.kernel} / {self.stride}, {self.size} px"

    @property
    def taps(self) -> int:
        out = (self.size + 2 * self.padding - self.kernel) // self.stride + 1
        return self.channels * self.kernel**2 * self.filters * out**2


def _stages(network: str, widths: list[int], size: int, blocks: int) -> list[Layer]:
    layers = [Layer(network, widths[0], size, widths[0], 3, 1, 2 * blocks)]
    for before, width in pairwise(widths):
        layers += [
            Layer(network, before, size, width, 3, 2, 1),
            Layer(network, before, size, width, 1, 2, 1),
            Layer(network, width, size // 2, width, 3, 1, 2 * blocks - 1),
        ]
        size //= 2
    return layers


LAYERS = _stages("ResNet-20", [16, 32, 64], 32, 3) + _stages("ResNet-18", [64, 128, 256, 512], 56, 2)


def _unfold_form(x: torch.Tensor, w: torch.Tensor, layer: Layer) -> Callable[[], object]:
    def run() -> torch.Tensor:
        taps = functional.unfold(x, layer.kernel, padding=layer.padding, stride=layer.stride)
        return -(taps[:, None] - w.flatten(1)[None, :, :, None]).abs().sum(2)

    return run


def _calls(layer: Layer) -> dict[str, Callable[[], object]]:
    random = np.random.default_rng(0)
    x = random.standard_normal((1, layer.channels, layer.size, layer.size), np.float32)
    w = random.standard_normal((layer.filters, layer.channels, layer.kernel, layer.kernel), np.float32)
    geometry = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
    vectors = {"scale": np.ones(layer.filters, np.float32), "shift": np.zeros(layer.filters, np.float32)}
    return {
        "native": node_session("AdderConv2d", {"X": x, "W": w, **vectors}, "X", {**geometry, "activation": 0}),
        "convolution": node_session("Conv", {"X": x, "W": w, "B": vectors["shift"]}, "X", geometry),
        "unfold": _unfold_form(torch.from_numpy(x), torch.from_numpy(w), layer),
    }


def main() -> None:
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    print(f"{'layer':<42}{'native ms':>10}{'Gtap/s':>8}{'unfold / native':>17}{'convolution / native':>22}")
    for layer in LAYERS:
        with torch.inference_mode():
            found = interleaved_medians(_calls(layer), SECONDS, time.thread_time)
        rows.append({"network": layer.network, "layer": layer.name, "count": layer.count, "milliseconds": found})
        _print_row(f"{layer.network} {layer.name}", found, layer.taps)
    for network in ("ResNet-20", "ResNet-18"):
        mine = [(r, layer) for r, layer in zip(rows[: len(LAYERS)], LAYERS, strict=True) if layer.network == network]
        total = {k: sum(r["milliseconds"][k] * r["count"] for r, _ in mine) for k in rows[0]["milliseconds"]}
        _print_row(f"{network}, all adder layers", total, sum(la.taps * la.count for _, la in mine))
        rows.append({"network": network, "layer": "all adder layers", "count": 1, "milliseconds": total})
    keep_results("adder_conv", "python -m benchmarks.adder_conv", rows)


def _print_row(name: str, found: dict[str, float], taps: int) -> None:
    native = found["native"]
    print(
        f"{name:<42}{native:>10.3f}{taps / native / 1e6:>8.1f}{found['unfold'] / native:>17.0f}"
        f"{found['convolution'] / native:>22.2f}"
    )


if __name__ == "__main__":
    main()
