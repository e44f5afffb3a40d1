"""RoutingGate on the maps of a routed network: our operator, its 1 x 1 convolution alone, and PyTorch. One thread.

    python -m benchmarks.routing_gate

The maps are those of an image of 256 x 512 at strides 4 to 32, width 16; a gate's hidden channels are half of the
map's. native and convolution are what one more node costs in a graph (measure.py); convolution is ONNX Runtime's
float32 one from the map to the hidden channels, a part of what the gate computes. The small gate looks at the
map shrunk by 4, which the convolution is then given.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from adroit.models.operators.routing_gate import routing_gate
from benchmarks.measure import Sample, interleaved_timings, keep_results, node_time, run_time

SECONDS = 0.4
PATHS = 3


@dataclass(frozen=True)
class Case:
    channels: int
    height: int
    width: int
    shrink: int

    @property
    def products(self) -> int:
        """Multiplications of the first layer."""
        return self.channels * (self.channels // 2) * self.height * self.width // self.shrink**2


CASES = [Case(16 << i, 64 >> i, 128 >> i, shrink) for shrink in (1, 4) for i in range(4)]


def _samples(case: Case) -> dict[str, Sample]:
    random = np.random.default_rng(case.channels)
    hidden = case.channels // 2
    shapes = {"W1": (hidden, case.channels), "b1": (hidden,), "W2": (PATHS, hidden), "b2": (PATHS,), "threshold": (1,)}
    weights = {k: random.normal(size=shape).astype(np.float32) for k, shape in shapes.items()}
    x = random.normal(size=(1, case.channels, case.height, case.width)).astype(np.float32)
    seen = np.ascontiguousarray(x[:, :, :: case.shrink, :: case.shrink])
    tensors = [torch.from_numpy(v) for v in (x, *weights.values())]
    kernel = weights["W1"][:, :, None, None]
    return {
        "native": node_time("RoutingGate", {"X": x, **weights}, "X", {"shrink": case.shrink}, more=16),
        "convolution": node_time("Conv", {"X": seen, "W": kernel, "B": weights["b1"]}, "X", {}, more=16),
        "torch": run_time(lambda: routing_gate(*tensors, case.shrink)),
    }


def main() -> None:
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    print(f"{'map':<16}{'shrink':>7}{'native us':>22}{'GMAC/s':>8}{'convolution/native':>20}{'torch/native':>14}")
    for case in CASES:
        with torch.inference_mode():
            result = interleaved_timings(_samples(case), SECONDS)
        rows.append({**asdict(case), "milliseconds": {name: asdict(t) for name, t in result.items()}})
        native = result["native"]
        spread = f"{native.median * 1e3:.1f} ({native.low * 1e3:.1f} to {native.high * 1e3:.1f})"
        print(
            f"{case.channels} x {case.height} x {case.width:<7}{case.shrink:>5}{spread:>22}"
            f"{case.products / native.median / 1e6:>8.0f}{result['convolution'].median / native.median:>20.2f}"
            f"{result['torch'].median / native.median:>14.1f}",
            flush=True,
        )
    keep_results("routing_gate", "python -m benchmarks.routing_gate", rows)


if __name__ == "__main__":
    main()
