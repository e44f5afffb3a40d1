"""The adder convolution as CPUs train it: by the kernels of plugins/training, where those were built.

A training step takes a tenth of the time that torch's own operations need (`python -m benchmarks.adder_training`). A
network in evaluation, and so the reference of every parity check, keeps to models/operators/adder_conv2d.py.
"""

from __future__ import annotations

import ctypes
import functools
from importlib import resources
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from adroit.errors import EnvironmentFault
from adroit.models.operators.adder_conv2d import adder_conv2d, check_inputs, output_size, weight_gradient

_Shape = ctypes.c_int64 * 13  # AdderConv2dShape of plugins/kernels/shapes.h


@functools.cache
def training_library() -> ctypes.CDLL | None:
    """The library, or None where it was not built."""
    path = resources.files("adroit") / "native" / "libadroit_training.so"
    if not path.is_file():
        return None
    library = ctypes.CDLL(str(path))
    for function in (library.adroit_adder_conv2d, library.adroit_adder_conv2d_input_gradient):
        function.restype = ctypes.c_char_p
    return library


class _TrainedAdderConv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        y = x.new_empty(x.shape[0], weight.shape[0], *output_size(x, weight, stride, padding))
        _call("adroit_adder_conv2d", _shape(x, weight, stride, padding), x, weight, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = torch.empty_like(x, memory_format=torch.contiguous_format)
            shape = _shape(x, weight, ctx.stride, ctx.padding)
            _call("adroit_adder_conv2d_input_gradient", shape, x, weight, gradient, of_x)
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(gradient, x, weight, ctx.stride, ctx.padding)
        return of_x, of_weight, None, None


def trained_adder_conv2d(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """As adder_conv2d of models/operators/adder_conv2d.py, with the same gradients; float32 on a CPU is faster.

    Rounding differs from it, and gradients have none of their own.

    Args:
        x: [N,C,H,W]. weight: [M,C,kH,kW]. stride, padding: in pixels, both dimensions.

    Returns:
        [N,M,Ho,Wo].

    Raises:
        UsageError: shapes that do not fit. EnvironmentFault: the library failed, or cannot run on this CPU.
    """
    if weight.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        x = x.float()  # as that operator has it
    if weight.device.type != "cpu" or not x.dtype == weight.dtype == torch.float32 or training_library() is None:
        result: Tensor = adder_conv2d(x, weight, stride, padding)
        return result
    check_inputs(x, weight, stride, padding)
    trained: Tensor = _TrainedAdderConv2d.apply(x, weight, stride, padding)
    return trained


def _shape(x: Tensor, weight: Tensor, stride: int, padding: int) -> ctypes.Array[ctypes.c_int64]:
    filters, _, *kernel = weight.shape
    return _Shape(*x.shape, filters, *kernel, stride, stride, padding, padding, padding, padding)


def _call(name: str, shape: ctypes.Array[ctypes.c_int64], *tensors: Tensor) -> None:
    """The last tensor is written. ctypes lets other Python threads run meanwhile."""
    held = [tensor.contiguous() for tensor in tensors]
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in held]
    library = training_library()
    assert library is not None
    failure = getattr(library, name)(shape, *pointers, ctypes.c_int64(torch.get_num_threads()))
    if failure is not None:
        raise EnvironmentFault(f"a kernel of adroit failed: {failure.decode()}")
