"""The adder layers of ResNet-20 (CIFAR) and ResNet-18 (224 x 224), and what an implementation is compared with.

Every form of a layer is timed in turns with the others in one process: batch 1, one thread, in processor time.

- native: a node of ours; convolution: ONNX Runtime's, float32; convolution_int8: its QLinearConv, uint8 by int8.
  Each is what one more node costs in a graph (benchmarks/measure.py).
- unfold: the usual way to write the operator in PyTorch, a (filters x taps x positions) difference, its absolute
  value, its sum. cdist: the same without that temporary, L1 distances of the unfolded windows. Both float32.
- the peaks of the kernel's instructions on registers alone (peak.py).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import torch
from torch.nn import functional

from benchmarks.measure import Sample, Timing, interleaved_timings, keep_results, node_time, run_time
from benchmarks.peak import gigataps, load_peaks, peak_samples

SECONDS = 0.3
COMPARED = ("unfold", "cdist", "convolution", "convolution_int8")


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
    def name(self) -> str:
        return f"{self.channels}->{self.filters}, {self.kernel} x {self.kernel} / {self.stride}, {self.size} px"

    @property
    def taps(self) -> int:
        out = (self.size + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1
        return self.channels * self.kernel**2 * self.filters * out**2

    @property
    def geometry(self) -> dict[str, list[int]]:
        return {"strides": [self.stride] * 2, "pads": [self.kernel // 2] * 4}

    @property
    def more(self) -> int:
        """Nodes of a graph, beside the first, for a time well above the clock's own."""
        return 8 if self.network == "ResNet-20" else 2


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

# A layer's own forms, from X and W in uint8: names to samples. "native" is among them.
NativeForms = Callable[[Layer, np.ndarray, np.ndarray], dict[str, Sample]]


def _torch_forms(layer: Layer, x: torch.Tensor, w: torch.Tensor) -> dict[str, Sample]:
    def windows() -> torch.Tensor:
        return functional.unfold(x, layer.kernel, padding=layer.kernel // 2, stride=layer.stride)

    def unfold() -> torch.Tensor:
        return -(windows()[:, None] - w.flatten(1)[None, :, :, None]).abs().sum(2)

    def cdist() -> torch.Tensor:
        return -torch.cdist(w.flatten(1), windows()[0].T.contiguous(), p=1.0)

    return {"unfold": run_time(unfold), "cdist": run_time(cdist)}


def _convolutions(layer: Layer, x: np.ndarray, w: np.ndarray) -> dict[str, Sample]:
    real = {"X": x.astype(np.float32), "W": w.astype(np.float32), "B": np.zeros(layer.filters, np.float32)}
    linear = {
        "x": x,
        "x_scale": np.array(np.float32(1.0)),
        "x_zero_point": np.array(np.uint8(0)),
        "w": (w.astype(int) - 128).astype(np.int8),
        "w_scale": np.array(np.float32(1.0)),
        "w_zero_point": np.array(np.int8(0)),
        "y_scale": np.array(np.float32(1e5)),
        "y_zero_point": np.array(np.uint8(128)),
        "B": np.zeros(layer.filters, np.int32),
    }
    uint8 = onnx.TensorProto.UINT8
    return {
        "convolution": node_time("Conv", real, "X", layer.geometry, more=layer.more),
        "convolution_int8": node_time("QLinearConv", linear, "x", layer.geometry, uint8, more=layer.more),
    }


def run_family(name: str, native_forms: NativeForms, peaks_of: Callable[[Layer], tuple[str, ...]]) -> None:
    """Measures, prints and records (benchmarks/results/<name>.json) every layer of the requested networks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=["ResNet-20", "ResNet-18"], help="measure this one only, write nothing")
    only = parser.parse_args().network
    torch.set_num_threads(1)
    peaks, rows = load_peaks(), []
    _print_head()
    for layer in [la for la in LAYERS if only in (None, la.network)]:
        random = np.random.default_rng(0)
        x = random.integers(0, 256, (1, layer.channels, layer.size, layer.size), np.uint8)
        w = random.integers(0, 256, (layer.filters, layer.channels, layer.kernel, layer.kernel), np.uint8)
        samples = {**native_forms(layer, x, w), **_convolutions(layer, x, w), **peak_samples(peaks, peaks_of(layer))}
        samples |= _torch_forms(layer, *(torch.from_numpy(v.astype(np.float32)) for v in (x, w)))
        with torch.inference_mode():
            result = interleaved_timings(samples, SECONDS, time.thread_time)
        rows.append(_row(layer, result, gigataps(peaks, result)))
        _print_row(f"{layer.network} {layer.name}", rows[-1])
    for network in dict.fromkeys(row["network"] for row in rows):
        _print_row(f"{network}, all adder layers", _total([row for row in rows if row["network"] == network]))
    if only is None:
        keep_results(name, f"python -m benchmarks.{name}", rows)


def _row(layer: Layer, result: dict[str, Timing], peaks: dict[str, float]) -> dict[str, Any]:
    forms = {n: asdict(t) for n, t in result.items() if not n.startswith("peak ")}
    rate = layer.taps / result["native"].median / 1e6
    return {
        "network": layer.network,
        "layer": layer.name,
        "count": layer.count,
        "taps": layer.taps,
        "milliseconds": forms,
        "gigataps_per_second": rate,
        "peak_gigataps_per_second": peaks,
        "share_of_peak": {n: rate / p for n, p in peaks.items()},
    }


def _total(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = rows[0]["milliseconds"]
    sums = {n: {"median": sum(r["milliseconds"][n]["median"] * r["count"] for r in rows)} for n in names}
    taps = sum(r["taps"] * r["count"] for r in rows)
    return {"milliseconds": sums, "gigataps_per_second": taps / sums["native"]["median"] / 1e6, "share_of_peak": {}}


def _print_head() -> None:
    print("times of the others as multiples of native's; in brackets native's quartiles")
    print(f"{'layer':<40}{'native us':>24}{'Gtap/s':>8}" + "".join(f"{n:>17}" for n in COMPARED) + "  share of peak")


def _print_row(name: str, row: dict[str, Any]) -> None:
    forms = row["milliseconds"]
    native = forms["native"]
    spread = f"({native['low'] * 1e3:.1f} to {native['high'] * 1e3:.1f})" if "low" in native else ""
    ratios = "".join(f"{forms[n]['median'] / native['median']:>17.2f}" for n in COMPARED)
    others = "".join(
        f"  {n} {t['median'] / native['median']:.2f}" for n, t in forms.items() if n not in (*COMPARED, "native")
    )
    shares = ", ".join(f"{n} {share:.0%}" for n, share in row["share_of_peak"].items())
    rate = row["gigataps_per_second"]
    print(f"{name:<40}{native['median'] * 1e3:>9.1f}{spread:>15}{rate:>8.0f}{ratios}  {shares}{others}", flush=True)
