"""AdderConv2d, float32, on every adder layer of ResNet-20 and ResNet-18 (see adder_layers.py).

    python -m benchmarks.adder_conv [--network ResNet-18]

X is as behind a ReLU, where the kernel takes maxima; native_signed has X of both signs, where it takes
differences. The peaks: `maxima` is vmaxps and vaddps, `maxima_of_bits` vpmaxsd and vaddps, which the kernel takes.
"""

from __future__ import annotations

import numpy as np

from benchmarks.adder_layers import Layer, run_family
from benchmarks.measure import Sample, node_time


def native_forms(layer: Layer, x: np.ndarray, w: np.ndarray) -> dict[str, Sample]:
    real_x, real_w = (v.astype(np.float32) / 128 - 1 for v in (x, w))
    ones = np.ones(layer.filters, np.float32)

    def native(values: np.ndarray) -> Sample:
        inputs = {"X": values, "W": real_w, "scale": ones, "shift": ones}
        return node_time("AdderConv2d", inputs, "X", {**layer.geometry, "activation": 0}, more=layer.more)

    return {"native": native(np.maximum(real_x, 0.0)), "native_signed": native(real_x)}


if __name__ == "__main__":
    run_family("adder_conv", native_forms, lambda _: ("maxima", "maxima_of_bits"))
