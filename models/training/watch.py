"""Finding the layer where numbers stop being finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

NOWHERE = "the loss itself"


def all_finite(tensors: list[Tensor]) -> bool:
    """Whether no element of any is NaN or infinite; one look at the device for all of them."""
    if not tensors:
        return True
    return bool(torch.isfinite(torch.stack(torch._foreach_norm(tensors))).all())


def first_fault(network: nn.Module, loss: Callable[[], Tensor]) -> str:
    """Where in `network` the first number appears that is not finite.

    Args:
        loss: computes again, with the random numbers of the pass that went wrong, what went wrong.

    Returns:
        "the weights of NAME", "the output of NAME" or "the gradient of the output of NAME": the first in the
        order of computation. Where it is in none of the network's layers, NOWHERE.
    """
    for name, parameter in network.named_parameters():
        if not all_finite([parameter.detach()]):
            return f"the weights {name}"
    faults: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def look_back(gradient: Tensor) -> None:
            if not all_finite([gradient]):
                faults.append(f"the gradient of the output of {name}")

        def look(_: nn.Module, __: Any, output: Any) -> None:
            for tensor in _tensors(output):
                if not all_finite([tensor.detach()]):
                    faults.append(f"the output of {name}")
                elif tensor.requires_grad:
                    tensor.register_hook(look_back)

        return look

    handles = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    try:
        loss().backward()  # always: other processes may wait for what it sends
    finally:
        for handle in handles:
            handle.remove()
    return faults[0] if faults else NOWHERE


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list)):
        for item in output:
            yield from _tensors(item)
