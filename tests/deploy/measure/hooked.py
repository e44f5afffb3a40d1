"""An independent count of operations: by hooks on a running PyTorch network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adroit.models.layers.adder import Add
from adroit.models.layers.anti_aliasing import AdaptiveAntiAlias, BinomialFilter
from adroit.models.networks.deeplabv3plus import ResizeLike
from adroit.models.operators.counts import OperationCounts


def operations(module: nn.Module, x: Tensor, y: Tensor) -> OperationCounts:
    """Counts one call of `module` once batch norms are folded; containers count nothing of their own."""
    match module:
        case nn.Conv2d():
            taps = module.kernel_size[0] * module.kernel_size[1] * module.in_channels // module.groups
            return OperationCounts(y.numel() * taps, elementwise=y.numel() if module.bias is not None else 0)
        case nn.Linear():
            return OperationCounts(y.numel() * module.in_features, elementwise=y.numel())
        case AdaptiveAntiAlias():  # its convolution and norm are counted for themselves
            positions = y.shape[0] * y.shape[2] * y.shape[3]
            weights = positions * module.groups * module.filter_size**2
            return OperationCounts(y.numel() * module.filter_size**2, 0, 4 * weights, weights)
        case BinomialFilter():
            return OperationCounts(y.numel() * module.filter_size**2)
        case ResizeLike():
            return OperationCounts(4 * y.numel())
        case nn.MaxPool2d():
            assert isinstance(module.kernel_size, int)
            return OperationCounts(elementwise=y.numel() * module.kernel_size**2)
        case nn.AdaptiveAvgPool2d():
            return OperationCounts(elementwise=x.numel())
        case nn.BatchNorm2d() | nn.ReLU() | Add():  # a folded batch norm leaves the addition of its bias
            return OperationCounts(elementwise=y.numel())
    return OperationCounts()


def count_by_hooks(network: nn.Module, shape: tuple[int, ...]) -> OperationCounts:
    """Counts one forward pass in evaluation mode on zeros of `shape`."""
    result: list[OperationCounts] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        result.append(operations(module, inputs[0], output))

    handles = [module.register_forward_hook(keep) for module in network.modules()]
    with torch.no_grad():
        network(torch.zeros(shape))
    for handle in handles:
        handle.remove()
    return sum(result, OperationCounts())
