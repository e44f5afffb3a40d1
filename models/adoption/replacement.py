"""What a rule of adoption gives: the module that takes the other's place, and how the two are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn


class NotAdopted(Exception):
    """A module that a rule recognizes and that must stay as it is; its text is the reason."""


@dataclass(frozen=True)
class Replacement:
    """A module of adroit's with the weights of another.

    Attributes:
        module: takes the other's place.
        example: [N,C,H,W], the input on which the two are compared.
        trusted: whether class and attributes are so exactly those of the published code that the module may be
            replaced where it cannot run on this machine (its kernels need a GPU).
        filters: tensors with one part for each output channel, by their names in the other module and in this one.
            The comparison runs on the first few parts, since the published adder layers take long.
    """

    module: nn.Module
    example: tuple[int, int, int, int]
    trusted: bool = False
    filters: tuple[tuple[str, str], ...] = ()


def one_number(module: nn.Module, name: str) -> int:
    """The attribute `name` in pixels: a whole number, or a pair of equal ones.

    Raises:
        NotAdopted: it is missing, or something else.
    """
    value = getattr(module, name, None)
    numbers = set(value) if isinstance(value, tuple | list) else {value}
    only = numbers.pop() if len(numbers) == 1 else None
    if not isinstance(only, int) or isinstance(only, bool):
        raise NotAdopted(f"its {name} is {value!r}, not one whole number")
    return only


def require_tensors(module: nn.Module, parameters: Iterable[str], buffers: Iterable[str] = ()) -> None:
    """Checks that `module` itself holds exactly these tensors, so that none is lost with it.

    Raises:
        NotAdopted: one is missing or another is there, as with weight norm, pruning and quantization.
    """
    for kind, expected, present in (
        ("parameters", set(parameters), {name for name, value in module._parameters.items() if value is not None}),
        ("buffers", set(buffers), {name for name, value in module._buffers.items() if value is not None}),
    ):
        if present != expected:
            raise NotAdopted(f"its {kind} are {_listed(present)}, not {_listed(expected)}")


def plain_attributes(module: nn.Module) -> set[str]:
    """Names of what its class gave it beside parameters, buffers, submodules and PyTorch's own bookkeeping."""
    return {name for name in vars(module) if name != "training" and not name.startswith("_")}


def class_names(module: nn.Module) -> set[str]:
    """Names of its class and of all its base classes."""
    return {base.__name__ for base in type(module).__mro__}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
