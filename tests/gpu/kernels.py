"""The CUDA kernels on PyTorch tensors: memory and streams are PyTorch's, the launches go through ctypes.

Every function queues its kernel on PyTorch's current stream and returns at once, and so can be captured in a
CUDA graph. Outputs are given, never allocated. `use_library` puts the emulated device's kernels, on tensors of the
CPU, in place of the GPU's.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tests.gpu.build import build_folder

TYPES = {torch.float32: 0, torch.float16: 1}


@functools.cache
def library() -> ctypes.CDLL:
    """The kernels behind their C interface, built for this machine's GPU unless `use_library` said otherwise."""
    loaded = ctypes.CDLL(str(_chosen or build_folder() / "libadroit_gpu_check.so"))
    loaded.adroit_routing_gate_workspace.restype = ctypes.c_size_t
    return loaded


_chosen: Path | None = None


def use_library(path: Path) -> None:
    """From now on the kernels of this library."""
    global _chosen
    _chosen = path
    library.cache_clear()


def queue_taps(in_bytes: bool, steps: int, out: Tensor) -> float:
    """Queues a launch that adds up taps in registers only, and gives their number; out: 4 bytes."""
    library().adroit_queue_taps.restype = ctypes.c_double
    taps = float(library().adroit_queue_taps(_stream(), int(in_bytes), steps, _pointer(out)))
    _require(int(taps == 0.0), "peak rate")
    return taps


def _array(values: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(values))(*values)


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    if tensor is None:
        return ctypes.c_void_p(None)
    assert tensor.is_contiguous() and tensor.is_cuda == (_chosen is None)
    return ctypes.c_void_p(tensor.data_ptr())


def _stream() -> ctypes.c_void_p:
    return ctypes.c_void_p(torch.cuda.current_stream().cuda_stream if _chosen is None else None)


def _require(error: int, what: str) -> None:
    if error:
        raise RuntimeError(f"{what}: the launch gave CUDA error {error}")


def _adder_shape(x: Tensor, w: Tensor, stride: int, padding: int) -> ctypes.Array[ctypes.c_int64]:
    return _array([*x.shape, w.shape[0], *w.shape[2:], stride, stride, *[padding] * 4])


def adder_conv2d(
    x: Tensor,
    w: Tensor,
    scale: Tensor,
    shift: Tensor,
    residual: Tensor | None,
    y: Tensor,
    stride: int,
    padding: int,
    relu: bool = False,
) -> None:
    """x, w, residual, y: float32 or float16; scale, shift: float32 [M]."""
    shape = _adder_shape(x, w, stride, padding)
    tensors = [_pointer(t) for t in (x, w, scale, shift, residual)]
    error = library().adroit_adder_conv2d(_stream(), shape, TYPES[x.dtype], *tensors, int(relu), _pointer(y))
    _require(error, "adder_conv2d")


def quantized_adder_conv2d(
    x: Tensor, w: Tensor, scale: Tensor, shift: Tensor, y: Tensor, stride: int, padding: int, zero_point: int
) -> None:
    """x, w: uint8 or int8; y: float32, or the bytes' type at scale 1 and zero point 0."""
    shape = _adder_shape(x, w, stride, padding)
    zero_points = (ctypes.c_int * 3)(zero_point, 0, 0)
    tensors = [_pointer(t) for t in (x, w, scale, shift)]
    error = library().adroit_quantized_adder_conv2d(
        _stream(), shape, int(x.dtype == torch.int8), *tensors, None, ctypes.c_float(1.0), 0,
        int(y.dtype != torch.float32), ctypes.c_float(1.0), zero_points, _pointer(y),
    )  # fmt: skip
    _require(error, "quantized_adder_conv2d")


def adaptive_filter(
    x: Tensor, logits: Tensor, y: Tensor, kernel_size: int, stride: int, groups: int, joint_softmax: bool
) -> None:
    """x, logits, y: float32 or float16."""
    shape = _array([*x.shape, kernel_size, stride, groups])
    error = library().adroit_adaptive_filter(
        _stream(), shape, int(joint_softmax), TYPES[x.dtype], _pointer(x), _pointer(logits), _pointer(y)
    )
    _require(error, "adaptive_filter")


def _gate_shape(x: Tensor, w2: Tensor, shrink: int) -> ctypes.Array[ctypes.c_int64]:
    return _array([*x.shape, w2.shape[1], w2.shape[0], shrink])


def routing_gate_workspace(x: Tensor, w2: Tensor, shrink: int) -> Tensor:
    """The memory that `routing_gate` needs for its partial sums."""
    size = library().adroit_routing_gate_workspace(_gate_shape(x, w2, shrink))
    return torch.empty(size, dtype=torch.uint8, device=x.device)


def routing_gate(
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    threshold: Tensor,
    shrink: int,
    gates: Tensor,
    is_open: Tensor,
    workspace: Tensor,
) -> None:
    """x, w1: float32 or float16; the others float32; gates [N,P] float32; is_open [P] bool."""
    shape = _gate_shape(x, w2, shrink)
    tensors = [_pointer(t) for t in (x, w1, b1, w2, b2, threshold)]
    per_sample = int(threshold.shape[0] > 1)
    error = library().adroit_routing_gate(
        _stream(), shape, TYPES[x.dtype], *tensors, per_sample, _pointer(gates), _pointer(is_open), _pointer(workspace)
    )
    _require(error, "routing_gate")


def routing_decision(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """inputs: gates, live, belongs, reach, shown; outputs: counted, opened, reached (all float32), flags (bool)."""
    gates, live, _, reach, shown = inputs
    shape = _array([*gates.shape, live.shape[1], reach.shape[1], shown.shape[1]])
    error = library().adroit_routing_decision(_stream(), shape, *(_pointer(t) for t in (*inputs, *outputs)))
    _require(error, "routing_decision")
