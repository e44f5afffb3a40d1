"""The CUDA kernels against what the GPU can do at most, and against the same operators written in PyTorch.

    python -m benchmarks.cuda_kernels

Each floor is the time that the operator must take at least on this GPU: its taps at the measured peak rate of
taps in registers, or its bytes (each input read once, each output written once) at the measured bandwidth of a
copy, whichever is longer. `share` is floor / time. On a machine without a GPU it says why it measures nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from adroit import files
from adroit.models.operators.adaptive_filter import adaptive_filter
from adroit.models.operators.routing_gate import routing_gate
from benchmarks.gpu_timing import copies_for, microseconds
from tests.gpu import build, kernels
from tests.operators.cases import adaptive_filter as filter_cases
from tests.operators.cases import adder_conv2d as adder_cases
from tests.operators.cases import routing_gate as gate_cases

RESULT = Path(__file__).parent / "results" / "cuda_kernels.json"

FLOATS = (torch.float32, torch.float16)
ADDER = [
    adder_cases.DeviceCase(batch, channels, size, size, channels, 3, 1, 1)
    for batch in (1, 32)
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7))
] + [adder_cases.DeviceCase(32, 256, 56, 56, 64, 1, 1, 0)]
FILTER = [filter_cases.DeviceCase(1, 64, 256, 512, 3, stride, 8, True) for stride in (1, 2)]
GATE = [gate_cases.DeviceCase(batch, 64, 256, 512, 32, 3, shrink, False) for batch in (1, 4) for shrink in (1, 4)]


@dataclass(frozen=True)
class Peaks:
    """Measures the peak of this GPU: taps and bytes a second."""

    float_taps: float
    byte_taps: float
    bytes: float

    def floor(self, moved: float, taps: float = 0.0, in_bytes: bool = False) -> tuple[float, str]:
        """Least microseconds, and what they are bound by."""
        memory = moved / self.bytes * 1e6
        arithmetic = taps / (self.byte_taps if in_bytes else self.float_taps) * 1e6
        return (arithmetic, "taps") if arithmetic > memory else (memory, "memory")


def measure_peaks() -> Peaks:
    """Register-only taps, and a copy of a gigabyte."""
    out = torch.zeros(1, device="cuda")
    rates = []
    for in_bytes in (False, True):
        taps = kernels.queue_taps(in_bytes, 4096, out)
        rates.append(taps / microseconds([lambda kind=in_bytes: kernels.queue_taps(kind, 4096, out)]) * 1e6)
    source = torch.randn(2**28, device="cuda")
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    return Peaks(rates[0], rates[1], moved / microseconds([lambda: target.copy_(source)]) * 1e6)


def size(*tensors: Tensor) -> int:
    """Bytes of some tensors."""
    return sum(t.numel() * t.element_size() for t in tensors)


Call = Callable[[], Any]


def _row(operator: str, case: object, dtype: torch.dtype, time: float, floor: tuple[float, str]) -> dict[str, Any]:
    return {
        "operator": operator,
        "case": str(case),
        "type": str(dtype).removeprefix("torch."),
        "microseconds": time,
        "floor": floor[0],
        "bound": floor[1],
        "share": floor[0] / time,
    }


def adder_row(case: adder_cases.DeviceCase, dtype: torch.dtype, peaks: Peaks) -> dict[str, Any]:
    """float32 or float16; beside it cdist over unfolded taps, the plain form, and cuDNN's convolution."""
    y = torch.empty(case.output, dtype=dtype, device="cuda")
    inputs = case.inputs(dtype, "cuda")
    w, geometry = inputs.w, (case.stride, case.padding)
    vectors = (inputs.scale, inputs.shift, None)
    xs = [inputs.x.clone() for _ in range(copies_for(size(inputs.x, w, y)))]
    calls: list[Call] = [lambda x=x: kernels.adder_conv2d(x, w, *vectors, y, *geometry) for x in xs]
    row = _row("adder_conv2d", case, dtype, microseconds(calls), peaks.floor(size(inputs.x, w, y), case.taps))
    others = {"convolution": [lambda x=x: functional.conv2d(x, w, None, *geometry) for x in xs]}
    if dtype == torch.float32:
        others.update({name: [call] for name, call in _torch_forms(case, inputs).items()})
    return {**row, **{name: microseconds(other) / row["microseconds"] for name, other in others.items()}}


def byte_row(case: adder_cases.DeviceCase, peaks: Peaks) -> dict[str, Any]:
    """The 8-bit adder convolution, with 8-bit output."""
    tensors = case.bytes_of(torch.uint8, "cuda")
    y = torch.empty(case.output, dtype=torch.uint8, device="cuda")
    time = microseconds([lambda: kernels.quantized_adder_conv2d(*tensors, y, case.stride, case.padding, 3)])
    floor = peaks.floor(size(*tensors[:2], y), case.taps, in_bytes=True)
    return _row("quantized_adder_conv2d", case, torch.uint8, time, floor)


def _torch_forms(case: adder_cases.DeviceCase, inputs: adder_cases.DeviceInputs) -> dict[str, Call]:
    filters = inputs.w.flatten(1)

    def unfolded() -> Tensor:
        return functional.unfold(inputs.x, case.kernel, padding=case.padding, stride=case.stride)

    forms: dict[str, Call] = {"cdist": lambda: torch.cdist(filters[None], unfolded().mT, p=1.0)}
    # The plain form holds every difference: gigabytes for a batch.
    if case.taps * inputs.x.element_size() < 2**31:
        forms["unfold"] = lambda: (unfolded()[:, None] - filters[None, :, :, None]).abs().sum(2)
    return forms


def filter_row(case: filter_cases.DeviceCase, dtype: torch.dtype, peaks: Peaks) -> dict[str, Any]:
    """The adaptive filter; beside it the PyTorch operator."""
    arguments = (case.kernel_size, case.stride, case.groups, case.joint)
    x, logits = case.inputs(dtype, "cuda")
    y = torch.empty(*x.shape[:2], *logits.shape[2:], dtype=dtype, device="cuda")
    sets = [(x.clone(), logits.clone(), y.clone()) for _ in range(copies_for(size(x, logits, y)))]
    calls: list[Call] = [lambda s=s: kernels.adaptive_filter(*s, *arguments) for s in sets]
    row = _row("adaptive_filter", case, dtype, microseconds(calls), peaks.floor(size(x, logits, y)))
    ours = row["microseconds"]
    return {**row, "torch": microseconds([lambda: adaptive_filter(x, logits, *arguments)]) / ours}


def gate_row(case: gate_cases.DeviceCase, dtype: torch.dtype, peaks: Peaks) -> dict[str, Any]:
    """The routing gate; beside it the PyTorch operator.

    A shrunk X is read at a quarter of its places, in half of its rows; memory gives no less than whole rows.
    """
    (x, *parameters), threshold = case.inputs(dtype, "cuda")
    gates = torch.empty(case.batch, case.paths, device="cuda")
    is_open = torch.empty(case.paths, dtype=torch.bool, device="cuda")
    rest = (threshold, case.shrink, gates, is_open, kernels.routing_gate_workspace(x, parameters[2], case.shrink))
    xs = [x.clone() for _ in range(copies_for(size(x)))]
    calls: list[Call] = [lambda x=x: kernels.routing_gate(x, *parameters, *rest) for x in xs]
    moved = size(x) / (2 if case.shrink > 1 else 1)
    row = _row("routing_gate", case, dtype, microseconds(calls), peaks.floor(moved))
    if dtype != torch.float32:
        return row
    ours = row["microseconds"]
    return {**row, "torch": microseconds([lambda: routing_gate(x, *parameters, threshold, case.shrink)]) / ours}


def table(rows: list[dict[str, Any]]) -> str:
    """One line a measurement; ratios are other / ours, above 1 where ours is faster."""
    lines = [f"{'operator':<24}{'type':<9}{'us':>9}{'floor':>9}{'share':>7}  ratios; case"]
    for row in rows:
        ratios = [f"{k} {row[k]:.1f}" for k in ("convolution", "cdist", "unfold", "torch") if k in row]
        lines.append(
            f"{row['operator']:<24}{row['type']:<9}{row['microseconds']:>9.1f}"
            f"{row['floor']:>9.1f}{row['share']:>6.0%}  {', '.join(ratios)}; {row['bound']}; {row['case']}"
        )
    return "\n".join(lines)


def _machine() -> dict[str, str]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    nvcc = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=False).stdout.splitlines()
    return {
        "gpu": subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip(),
        "nvcc": nvcc[-1] if nvcc else "",
        "torch": torch.__version__,
        "cudnn": str(torch.backends.cudnn.version()),
    }


def main() -> int:
    reason = build.reason_against()
    if reason:
        print(f"SKIP: nothing is measured: {reason}")
        return 0
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    with torch.inference_mode():
        peaks = measure_peaks()
        rows = [adder_row(case, dtype, peaks) for case in ADDER for dtype in FLOATS]
        rows += [byte_row(case, peaks) for case in ADDER]
        rows += [filter_row(case, dtype, peaks) for case in FILTER for dtype in FLOATS]
        rows += [gate_row(case, dtype, peaks) for case in GATE for dtype in FLOATS]
    print(
        f"peaks: {peaks.float_taps / 1e12:.2f} T float32 taps/s, {peaks.byte_taps / 1e12:.2f} T 8-bit taps/s, "
        f"{peaks.bytes / 1e12:.2f} TB/s copied"
    )
    print(table(rows))
    result = {
        "command": "python -m benchmarks.cuda_kernels",
        "machine": _machine(),
        "peaks": {"float_taps": peaks.float_taps, "byte_taps": peaks.byte_taps, "bytes": peaks.bytes},
        "rows": rows,
    }
    files.write_json(RESULT, result)
    print(f"written to {RESULT}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
