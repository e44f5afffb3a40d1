"""Whole networks, image to logits: adder networks in 8 bits against ordinary ones in float32 and int8.

All run in ONNX Runtime, a batch of 1, in turns. The ordinary network has the same topology with
convolutions in the place of adder layers; its int8 form is by ONNX Runtime's own quantizer (uint8
activations, int8 weights for each channel), in both formats that it writes, of which the faster counts.
Weights and images are random: no time here depends on values.

    python -m benchmarks.quantized_networks [FOLDER]

Models are made in FOLDER, which takes some minutes, or taken from there. Figures are in `results/`.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import export_deployment
from adroit.deploy.quantize.quantize import QuantizeOptions, quantize_deployment
from adroit.deploy.runtimes.native import native_library
from adroit.deploy.runtimes.onnxruntime_runtime import SPIN_MICROSECONDS
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.data.images import ImageSet
from adroit.models.networks.architectures import architecture_named, build_network
from benchmarks.measure import interleaved_samples, keep_results

NETWORKS = {"ResNet-20": "adder-resnet20", "ResNet-18": "adder-resnet18", "ResNet-50": "adder-resnet50"}
SECONDS = {"ResNet-20": 1.0, "ResNet-18": 3.0, "ResNet-50": 3.0}
CALLS_IN_TURN = 10
FORMATS = ("QDQ", "QOperator")
ADDER, ADDER_8, CONVOLUTION, CONVOLUTION_8 = "adder float32", "adder uint8", "convolution float32", "convolution int8"


def _deployment(folder: Path, architecture: str, kind: str) -> Deployment:
    """An exported network with random weights whose batch norms have seen data."""
    name = f"{architecture}-{kind}"
    if (folder / name).exists():
        return Deployment.read(folder / name)
    torch.manual_seed(0)
    network = build_network(architecture, {"kind": kind})
    side = min(64, *architecture_named(architecture).input_size)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, side, side))
    config = CheckpointConfig(architecture, architecture_named(architecture).preprocessing, {"kind": kind})
    save_checkpoint(folder / f"{name}-checkpoint", network.eval(), config)
    return export_deployment(folder / f"{name}-checkpoint", folder, name)


def _quantized(folder: Path, deployment: Deployment) -> Path:
    if not (folder / f"{deployment.info.name}-8bit").exists():
        pictures = np.random.default_rng(0).integers(0, 256, (4, *deployment.info.input_size, 3)).astype(np.uint8)
        images = ImageSet([str(i) for i in range(4)], lambda i: pictures[i])
        quantize_deployment(deployment, images, "noise", folder, options=QuantizeOptions(threads=1))
    return Deployment.read(folder / f"{deployment.info.name}-8bit").model_file


def _int8_convolutions(folder: Path, deployment: Deployment) -> Iterator[tuple[str, Path]]:
    """ONNX Runtime's int8 forms of an ordinary network, by format."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Noise(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            random = np.random.default_rng(0)
            shape = (1, 3, *deployment.info.input_size)
            self._feeds = iter([{"image": random.standard_normal(shape).astype(np.float32)} for _ in range(2)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    logging.getLogger().setLevel(logging.ERROR)
    prepared = folder / f"{deployment.info.name}-prepared.onnx"
    for kind in FORMATS:
        path = folder / f"{deployment.info.name}-{kind}.onnx"
        if not path.exists():
            quant_pre_process(deployment.model_file, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                path,
                Noise(),
                quant_format=quantization.QuantFormat[kind],
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
        yield f"{CONVOLUTION_8} ({kind})", path


def _models(folder: Path, architecture: str) -> dict[str, Path]:
    adder, ordinary = (_deployment(folder, architecture, kind) for kind in ("adder", "ordinary"))
    return {
        ADDER_8: _quantized(folder, adder),
        CONVOLUTION: ordinary.model_file,
        **dict(_int8_convolutions(folder, ordinary)),
        ADDER: adder.model_file,
    }


def _call(path: Path, image: np.ndarray, threads: int) -> Callable[[], object]:
    """A call of a session with the settings that `adroit run` and `adroit serve` give it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
    options.log_severity_level = 3
    options.register_custom_ops_library(str(native_library()))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image})


def _row(network: str, samples: dict[str, list[float]], clock: str) -> dict[str, Any]:
    spread = {
        name: dict(zip(("median", "p10", "p90"), map(float, np.percentile(s, (50, 10, 90))), strict=True))
        for name, s in samples.items()
    }
    return {"network": network, "clock": clock, "milliseconds": spread}


def _measure(network: str, models: dict[str, Path], image: np.ndarray) -> dict[str, Any]:
    calls = {name: _call(path, image, 1) for name, path in models.items()}
    row = _row(network, interleaved_samples(calls, SECONDS[network], time.thread_time), "CPU time of one thread")
    medians = {name: result["median"] for name, result in row["milliseconds"].items()}
    int8 = min(medians[f"{CONVOLUTION_8} ({kind})"] for kind in FORMATS)
    row["speed_of_adder_uint8"] = {
        "against convolution float32": medians[CONVOLUTION] / medians[ADDER_8],
        "against convolution int8": int8 / medians[ADDER_8],
        "against adder float32": medians[ADDER] / medians[ADDER_8],
    }
    return row


@contextmanager
def _another_process() -> Iterator[None]:
    """Work of somebody else, enough for one core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _measure_threads(network: str, models: dict[str, Path], image: np.ndarray, busy: bool) -> dict[str, Any]:
    """Sessions of one and of two threads, in turns of several calls: the threads of one then sleep in the others'."""

    def turn(call: Callable[[], object]) -> Callable[[], object]:
        return lambda: [call() for _ in range(CALLS_IN_TURN)]

    calls = {
        f"{name}, threads {threads}": turn(_call(models[name], image, threads))
        for name in (ADDER_8, CONVOLUTION)
        for threads in (1, 2)
    }
    with _another_process() if busy else nullcontext():
        samples = interleaved_samples(calls, SECONDS[network])
    each = {name: [duration / CALLS_IN_TURN for duration in s] for name, s in samples.items()}
    clock = f"wall time, mean of {CALLS_IN_TURN} calls" + (", another process busy" if busy else "")
    row = _row(network, each, clock)
    medians = {name: result["median"] for name, result in row["milliseconds"].items()}
    row["speed_of_two_threads"] = {
        name: medians[f"{name}, threads 1"] / medians[f"{name}, threads 2"] for name in (ADDER_8, CONVOLUTION)
    }
    return row


def _print_row(row: dict[str, Any]) -> None:
    print(f"\n{row['network']}, {row['clock']}")
    for name, result in row["milliseconds"].items():
        print(f"  {name:<32}{result['median']:>9.3f} ms   p10 {result['p10']:.3f}, p90 {result['p90']:.3f}")
    for key in ("speed_of_adder_uint8", "speed_of_two_threads"):
        for name, ratio in row.get(key, {}).items():
            print(f"  {key.replace('_', ' ')}, {name}: {ratio:.2f}", flush=True)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rows = []
    for network, architecture in NETWORKS.items():
        models = _models(folder, architecture)
        size = architecture_named(architecture).input_size
        image = np.random.default_rng(1).standard_normal((1, 3, *size)).astype(np.float32)
        rows.append(_measure(network, models, image))
        _print_row(rows[-1])
        if network == "ResNet-18" and (os.cpu_count() or 1) > 1:
            for busy in (False, True):
                rows.append(_measure_threads(network, models, image, busy))
                _print_row(rows[-1])
    keep_results("quantized_networks", "python -m benchmarks.quantized_networks", rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
