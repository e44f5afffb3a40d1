"""AdaptiveFilter on the CPU: our operator against two ways of writing it in PyTorch. One thread.

    python -m benchmarks.adaptive_filter [--rounds N]

Three forms, softmax included in each, same inputs, results compared before anything is timed:

- native: a one-node ONNX Runtime session with our library;
- unfold: reflect pad, unfold, multiply, sum (what the official code does, at output positions only);
- slices: reflect pad, then k*k strided slices, each multiplied and added.

The forms take turns in every round, so that load on the machine meets all of them. A turn is one run
that is not counted, which brings the inputs back into the caches where the layer before would have
left them, and three that are; each figure is a median. The bars (native at least 10 times faster
than unfold, 5 times faster than slices) hold for C 64 to 256 at 56 x 56; the map of 64 x 112 x 112
is the first filter of a ResNet.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import helper
from torch import Tensor
from torch.nn import functional

from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.runtimes.native import instruction_set, native_library
from benchmarks.measure import keep_results


@dataclass(frozen=True)
class Case:
    channels: int
    size: int
    stride: int
    groups: int = 8
    kernel_size: int = 3
    joint_softmax: bool = True

    def __str__(self) -> str:
        return (
            f"C {self.channels:>3}  {self.size} x {self.size}  stride {self.stride}"
            f"  k {self.kernel_size}  G {self.groups}"
        )


CASES = [Case(c, 56, s) for c in (64, 128, 256) for s in (1, 2)] + [Case(64, 112, 2)]


def make_inputs(case: Case) -> dict[str, np.ndarray]:
    random = np.random.default_rng(case.channels + case.size)
    side = -(-case.size // case.stride)
    return {
        "X": random.normal(size=(1, case.channels, case.size, case.size)).astype(np.float32),
        "logits": random.normal(size=(1, case.groups * case.kernel_size**2, side, side)).astype(np.float32),
    }


def native_form(case: Case, inputs: Mapping[str, np.ndarray]) -> Callable[[], Any]:
    attributes = {
        "kernel_size": case.kernel_size,
        "stride": case.stride,
        "groups": case.groups,
        "joint_softmax": int(case.joint_softmax),
    }
    node = helper.make_node("AdaptiveFilter", list(inputs), ["Y"], domain=DOMAIN, **attributes)
    values = {name: helper.make_tensor_value_info(name, 1, [None] * 4) for name in (*inputs, "Y")}
    graph = helper.make_graph([node], "one_node", [values[name] for name in inputs], [values["Y"]])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.register_custom_ops_library(str(native_library()))
    session = onnxruntime.InferenceSession(
        helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    # Bound memory, as inside a network: `session.run` would copy Y into new pages at every call.
    output_size = inputs["logits"].shape[2:]
    y = np.empty((1, case.channels, *output_size), np.float32)
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value))
    bound = onnxruntime.OrtValue.ortvalue_from_numpy(y)
    binding.bind_ortvalue_output("Y", bound)

    def run() -> Any:
        session.run_with_iobinding(binding)
        return bound

    return run


def unfold_form(case: Case, x: Tensor, logits: Tensor) -> Callable[[], Tensor]:
    batch, output_size, taps = x.shape[0], logits.shape[2:], case.kernel_size**2

    def run() -> Tensor:
        weights = logits.softmax(1).view(batch, case.groups, 1, taps, *output_size)
        padded = functional.pad(x, [case.kernel_size // 2] * 4, mode="reflect")
        columns = functional.unfold(padded, case.kernel_size, stride=case.stride)
        windows = columns.view(batch, case.groups, case.channels // case.groups, taps, *output_size)
        return (windows * weights).sum(3).flatten(1, 2)

    return run


def slices_form(case: Case, x: Tensor, logits: Tensor) -> Callable[[], Tensor]:
    batch, (height, width), size, stride = x.shape[0], logits.shape[2:], case.kernel_size, case.stride

    def run() -> Tensor:
        weights = logits.softmax(1).view(batch, case.groups, -1, height, width)
        padded = functional.pad(x, [size // 2] * 4, mode="reflect")
        grouped = padded.view(batch, case.groups, case.channels // case.groups, *padded.shape[2:])
        total = None
        for tap in range(size * size):
            row, column = divmod(tap, size)
            window = grouped[
                ..., row : row + (height - 1) * stride + 1 : stride, column : column + (width - 1) * stride + 1 : stride
            ]
            term = window * weights[:, :, tap, None]
            total = term if total is None else total.add_(term)
        assert total is not None
        return total.flatten(1, 2)

    return run


def measure(case: Case, rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of each form: the median and the quartiles around it."""
    inputs = make_inputs(case)
    x, logits = (torch.tensor(value) for value in inputs.values())
    forms: dict[str, Callable[[], Any]] = {
        "native": native_form(case, inputs),
        "unfold": unfold_form(case, x, logits),
        "slices": slices_form(case, x, logits),
    }
    expected, *others = (run().numpy() for run in forms.values())
    for other in others:
        np.testing.assert_allclose(expected, other, rtol=1e-4, atol=1e-5)
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, run in forms.items():
            run()
            for _ in range(3):
                start = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - start) * 1e6)
    quartiles = {name: statistics.quantiles(values, n=4) for name, values in times.items()}
    return {name: {"low": low, "median": middle, "high": high} for name, (low, middle, high) in quartiles.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often each form runs")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{instruction_set(native_library())}, 1 thread, medians of {rounds} interleaved rounds, float32")
    print(f"{'':42}{'native us':>10}{'unfold us':>10}{'slices us':>10}{'unfold/native':>15}{'slices/native':>15}")
    rows: list[dict[str, Any]] = []
    with torch.inference_mode():
        for case in CASES:
            measured = measure(case, rounds)
            rows.append({**asdict(case), "microseconds": measured})
            t = {name: values["median"] for name, values in measured.items()}
            print(
                f"{case!s:42}{t['native']:10.0f}{t['unfold']:10.0f}{t['slices']:10.0f}"
                f"{t['unfold'] / t['native']:14.1f}x{t['slices'] / t['native']:14.1f}x"
            )
    keep_results("adaptive_filter", "python -m benchmarks.adaptive_filter", rows)


if __name__ == "__main__":
    main()
