"""QAdderConv2d, uint8, on every adder layer of ResNet-20 and ResNet-18 (see adder_layers.py).

    python -m benchmarks.quantized_adder_conv [--network ResNet-18]

Its result is requantized, as that of convolution_int8. The peaks: `windows` is vdbpsadbw, of whose four taps a
kernel that is 3 wide uses three, `channels` vpsadbw; both with vpaddw, or saturating, with vpaddusw.
"""

from __future__ import annotations

import numpy as np
import onnx

from benchmarks.adder_layers import Layer, run_family
from benchmarks.measure import Sample, node_time


def native_forms(layer: Layer, x: np.ndarray, w: np.ndarray) -> dict[str, Sample]:
    scale, shift = np.full(layer.filters, 0.01, np.float32), np.zeros(layer.filters, np.float32)
    quantized = {"x_zero_point": 0, "output_type": 2, "output_scale": 1.0, "output_zero_point": 0}
    inputs = {"X": x, "W": w, "scale": scale, "shift": shift}
    attributes = {**layer.geometry, "activation": 1, **quantized}
    uint8 = onnx.TensorProto.UINT8
    return {"native": node_time("QAdderConv2d", inputs, "X", attributes, uint8, more=layer.more)}


def peaks_of(layer: Layer) -> tuple[str, ...]:
    kind = "windows" if layer.kernel == 3 and layer.stride == 1 else "channels"
    return (kind, f"{kind}_saturating")


if __name__ == "__main__":
    run_family("quantized_adder_conv", native_forms, peaks_of)
