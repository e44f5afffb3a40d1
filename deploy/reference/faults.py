"""The messages for a network that cannot be captured: its module, its line, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from adroit.deploy.reference.places import facts_of_error
from adroit.errors import UnsupportedModel

if TYPE_CHECKING:
    from adroit.deploy.reference.capture import CapturedInput

_FIXED = re.compile(
    r"\['?(\w+)'?\](?:\[(\d+)\])?\.size\(\)\[(\d+)\] as dynamic but your code specialized it to be a "
    r"constant \((\d+)\)"
)
FIXED_HINT = "export it with a fixed size, or compute from `x.shape` where the number is written out"
BRANCH_HINT = (
    "a deployed network cannot take Python's branch on a tensor's value; write it as "
    "adroit.nn.Gated(block, gate) or torch.cond(condition, one, other, (x,)), or with torch.where"
)


def run_fault(error: Exception, network: nn.Module, shapes: Sequence[Sequence[int]]) -> UnsupportedModel:
    """The network itself fails on its example, before anything is captured."""
    sizes = ", ".join("x".join(map(str, shape)) or "a number" for shape in shapes)
    return UnsupportedModel(
        f"the network fails on an input of {sizes}",
        facts=facts_of_error(error, network) | {"reason": _reason(error)},
        hint="give an example of the right shape, or mend the network so that it runs in PyTorch",
    )


def capture_fault(error: Exception, network: nn.Module, inputs: Sequence[CapturedInput]) -> UnsupportedModel:
    """PyTorch's exporter fails on a network that runs."""
    facts = facts_of_error(error, network)
    if isinstance(error, GuardOnDataDependentSymNode):
        number = "zuf" in _reason(error)
        return UnsupportedModel(
            "the network turns a tensor's value into a Python number"
            if number
            else "the network branches on a tensor's value",
            facts=facts,
            hint="keep it a tensor: no `float(x)`, `int(x)` or `x.item()`" if number else BRANCH_HINT,
        )
    fixed = _FIXED.findall(str(error))
    if fixed:
        return _fixed_size(_place_of_fixing(network, inputs), fixed, inputs)
    return UnsupportedModel(
        "PyTorch cannot capture this network",
        facts=facts | {"reason": _reason(error)},
        hint="write this step with PyTorch's operators on tensors alone: no NumPy, no lists of values",
    )


def _fixed_size(
    facts_of_place: dict[str, str], fixed: Sequence[Any], inputs: Sequence[CapturedInput]
) -> UnsupportedModel:
    facts: dict[str, str] = {}
    for argument, position, axis, size in fixed:
        given = _input_of(argument, position, int(axis), int(size), inputs)
        name = "a size" if given is None else f"{given.free.get(int(axis), axis)} of the input {given.name}"
        facts[name] = f"fixed to {size}"
    return UnsupportedModel(
        "the network takes one size only where sizes shall be free",
        facts=facts | facts_of_place,
        hint=FIXED_HINT,
    )


def _place_of_fixing(network: nn.Module, inputs: Sequence[CapturedInput]) -> dict[str, str]:
    """The line that fails at twice the size; nothing where none does, and only PyTorch's capture fixes it."""
    larger = [given.example for given in inputs]
    for index, given in enumerate(inputs):
        for axis in given.free:
            larger[index] = torch.cat([larger[index]] * 2, axis)
    try:
        network(*larger)
    except Exception as error:  # the user's code may raise anything
        return facts_of_error(error, network) | {"reason": _reason(error)}
    return {}


def _input_of(
    argument: str, position: str, axis: int, size: int, inputs: Sequence[CapturedInput]
) -> CapturedInput | None:
    """The input that the exporter's message means: by its position where it says one, else by its size."""
    if position and int(position) < len(inputs):
        return inputs[int(position)]
    named = [given for given in inputs if given.name == argument]
    sized = [given for given in inputs if axis in given.free and given.example.shape[axis] == size]
    return next(iter(named or sized), None)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
