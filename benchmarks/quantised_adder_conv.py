"""The 8-bit adder convolution against torch.cdist and ONNX Runtime's convolutions, float32 and 8-bit.

    python -m benchmarks.quantised_adder_conv

Every adder layer of ResNet-20 (CIFAR) and ResNet-18 (224 x 224), batch 1, one thread, all interleaved
in one process, in processor time. `cdist` is the operator in PyTorch without its large temporary: unfold,
then L1 distances, float32. Of `convolution_int8` (QLinearConv, uint8 by int8) and ours the result is
requantised. The peak is that of the kernel's inner instructions on registers alone (peak.cpp), which take
turns with the kernel only, so that its share is that of a kernel with warm caches: a 3 x 3 kernel of
stride 1 uses 3 of vdbpsadbw's 4 taps, the others vpsadbw.
Calls go through ONNX Runtime's Python interface, whose few microseconds are part of small layers.
"""

from __future__ import annotations

import ctypes
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from torch.nn import functional

from benchmarks.adder_conv import LAYERS, Layer
from benchmarks.measure import interleaved_medians, keep_results, node_session

SECONDS = 0.4
PEAK_ROUNDS = 20_000
# Kind in peak.cpp: taps of a pair of instructions that count.
USEFUL_TAPS = {0: 128 * 3 // 4, 1: 64}


def load_peak() -> ctypes.CDLL | None:
    """peak.cpp, built for this process; None where there is no compiler or the CPU lacks the instructions."""
    source = Path(__file__).parent / "peak.cpp"
    with TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        command = ["g++", "-O2", "-shared", "-fPIC", "-mavx512bw", str(source), "-o", str(library)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        peak = ctypes.CDLL(str(library))
    peak.pairs.restype = ctypes.c_int64
    peak.run_peak.argtypes = [ctypes.c_int, ctypes.c_int64]
    return peak if peak.has_peak(0) else None


def _cdist_form(x: torch.Tensor, w: torch.Tensor, layer: Layer) -> Callable[[], object]:
    def run() -> torch.Tensor:
        taps = functional.unfold(x, layer.kernel, padding=layer.padding, stride=layer.stride)[0]
        return -torch.cdist(w.flatten(1), taps.T.contiguous(), p=1.0)

    return run


def _calls(layer: Layer) -> dict[str, Callable[[], object]]:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (1, layer.channels, layer.size, layer.size), np.uint8)
    w = random.integers(0, 256, (layer.filters, layer.channels, layer.kernel, layer.kernel), np.uint8)
    real_x, real_w = x.astype(np.float32), w.astype(np.float32)
    geometry = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
    scale, shift = np.full(layer.filters, 0.01, np.float32), np.zeros(layer.filters, np.float32)
    one, zero = np.float32(1.0), np.uint8(0)
    quantised = {"activation": 1, "x_zero_point": 0, "output_type": 2, "output_scale": 1.0, "output_zero_point": 0}
    linear = {
        "x": x,
        "x_scale": np.array(one),
        "x_zero_point": np.array(zero),
        "w": (w.astype(int) - 128).astype(np.int8),
        "w_scale": np.array(one),
        "w_zero_point": np.array(np.int8(0)),
        "y_scale": np.array(np.float32(1e5)),
        "y_zero_point": np.array(np.uint8(128)),
        "B": np.zeros(layer.filters, np.int32),
    }
    uint8 = onnx.TensorProto.UINT8
    return {
        "native": node_session(
            "QAdderConv2d", {"X": x, "W": w, "scale": scale, "shift": shift}, "X", {**geometry, **quantised}, uint8
        ),
        "convolution": node_session("Conv", {"X": real_x, "W": real_w, "B": shift}, "X", geometry),
        "convolution_int8": node_session("QLinearConv", linear, "x", geometry, uint8),
        "cdist": _cdist_form(torch.from_numpy(real_x), torch.from_numpy(real_w), layer),
    }


def _measure(layer: Layer, peak: ctypes.CDLL | None) -> dict[str, Any]:
    calls = _calls(layer)
    with torch.inference_mode():
        found = interleaved_medians(calls, SECONDS, time.thread_time)
    row = {"network": layer.network, "layer": layer.name, "count": layer.count, "milliseconds": found}
    row["gigataps_per_second"] = layer.taps / found["native"] / 1e6
    if peak:
        kind = 0 if layer.kernel == 3 and layer.stride == 1 else 1
        pair = {"native": calls["native"], "peak": lambda: peak.run_peak(kind, PEAK_ROUNDS)}
        found = interleaved_medians(pair, SECONDS, time.thread_time)
        row["warm_gigataps_per_second"] = layer.taps / found["native"] / 1e6
        row["peak_gigataps_per_second"] = PEAK_ROUNDS * peak.pairs() * USEFUL_TAPS[kind] / found["peak"] / 1e6
    return row


def _print_row(name: str, row: dict[str, Any]) -> None:
    found = row["milliseconds"]
    ratios = "".join(f"{found[k] / found['native']:>14.2f}" for k in ("cdist", "convolution", "convolution_int8"))
    peak = row.get("peak_gigataps_per_second")
    share = f"{row['warm_gigataps_per_second'] / peak:.0%}" if peak else "-"
    print(f"{name:<42}{found['native']:>10.4f}{row['gigataps_per_second']:>8.0f}{share:>9}{ratios}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    peak = load_peak()
    print(f"{'':<42}{'native':>10}{'':>8}{'of peak':>9}{'cdist':>14}{'conv float32':>14}{'conv int8':>14}")
    print(f"{'layer':<42}{'ms':>10}{'Gtap/s':>8}{'':>9}{'/ native':>14}{'/ native':>14}{'/ native':>14}")
    rows = []
    for layer in LAYERS:
        rows.append(_measure(layer, peak))
        _print_row(f"{layer.network} {layer.name}", rows[-1])
    for network in ("ResNet-20", "ResNet-18"):
        mine = [(row, layer) for row, layer in zip(rows, LAYERS, strict=False) if layer.network == network]
        total = {k: sum(row["milliseconds"][k] * row["count"] for row, _ in mine) for k in rows[0]["milliseconds"]}
        taps = sum(layer.taps * layer.count for _, layer in mine)
        rows.append({"network": network, "layer": "all adder layers", "count": 1, "milliseconds": total})
        rows[-1]["gigataps_per_second"] = taps / total["native"] / 1e6
        _print_row(f"{network}, all adder layers", rows[-1])
    keep_results("quantised_adder_conv", "python -m benchmarks.quantised_adder_conv", rows)


if __name__ == "__main__":
    main()
