"""One call of a PyTorch operation in float64, and the rules that bound its float32 rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from adroit.deploy.parity.tolerance import UNIT_ROUNDOFF

# Magnitude and number of terms, as rounding_limit takes them.
Rounding = tuple[Tensor, int]
# Factors that scale a term of a sum: magnitudes take their absolute values.
_FACTORS = ("alpha", "beta", "value")


class NoRule(Exception):
    """A rule that does not cover this form of its operation."""


@dataclass(frozen=True)
class Call:
    """One call of an operation.

    Attributes:
        function: the overload, such as torch.ops.aten.add.Tensor.
        positional: the arguments as given. arguments: all of them by name, defaults included; both as they were
            before a call that changes its arguments.
        results: the floating-point tensors of the result, in order.
        precision: key of UNIT_ROUNDOFF: the type that the deployment computes in.
    """

    function: Any
    positional: Sequence[Any]
    arguments: Mapping[str, Any]
    results: Sequence[Tensor]
    precision: str

    @property
    def result(self) -> Tensor:
        """The first floating-point result."""
        return self.results[0]

    @property
    def first(self) -> Tensor:
        """The first argument."""
        return self[next(iter(self.arguments))]  # type: ignore[no-any-return]

    @property
    def unit(self) -> float:
        """The unit round-off of the deployment's type."""
        return UNIT_ROUNDOFF[self.precision]

    def __getitem__(self, name: str) -> Any:
        """Returns the argument of a name.

        Raises:
            NoRule: this overload has no such argument.
        """
        if name not in self.arguments:
            raise NoRule(f"{self.function} has no argument {name}")
        return self.arguments[name]

    def again(self, arguments: Mapping[str, Any]) -> Any:
        """Calls the operation once more with other arguments, all by name; none of them is written to."""
        copies = written_copies(self.function, arguments)
        schema = self.function._schema.arguments
        positional = [copies[a.name] for a in schema if not a.kwarg_only]
        return self.function(*positional, **{a.name: copies[a.name] for a in schema if a.kwarg_only})

    def on_absolute_values(self) -> Tensor:
        """Returns the first result for the absolute values of all tensors and factors: the magnitude of a sum."""
        changes = {name: _absolute(value) for name, value in self.arguments.items()}
        changes |= {name: abs(changes[name]) for name in _FACTORS if isinstance(changes.get(name), int | float)}
        result = self.again(changes)
        return result[0] if isinstance(result, tuple | list) else result  # type: ignore[no-any-return]

    def representable(self, value: Any) -> Tensor:
        """Returns which elements the deployment's type holds without rounding."""
        wide = torch.as_tensor(value, dtype=torch.float64)
        return wide.to(getattr(torch, self.precision)).double() == wide


@dataclass(frozen=True)
class Rule:
    """How an operation rounds.

    Attributes:
        rounding: magnitude and terms of the first floating-point result, or a list with those of the first ones.
        exact: which elements of the first result have no error at all.
        nonnegative: rounding never takes the first result below zero.
    """

    rounding: Callable[[Call], Rounding | list[Rounding]]
    exact: Callable[[Call], Tensor] | None = None
    nonnegative: bool = False


def written_names(function: Any) -> list[str]:
    """Returns the arguments that an operation writes to, such as the first of `add_`, or `out`."""
    return [a.name for a in function._schema.arguments if a.alias_info is not None and a.alias_info.is_write]


def written_copies(function: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments, with copies of those that the operation writes to."""
    written = written_names(function)
    return {name: tree_map(_copy, value) if name in written else value for name, value in arguments.items()}


def named_arguments(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all arguments of a call by name, with the defaults of those that were not given."""
    arguments = {}
    for place, argument in enumerate(function._schema.arguments):
        if place < len(args):
            arguments[argument.name] = args[place]
        elif argument.name in kwargs:
            arguments[argument.name] = kwargs[argument.name]
        else:
            arguments[argument.name] = argument.default_value
    return arguments


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _absolute(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_absolute(v) for v in value] if any(isinstance(v, Tensor) for v in value) else value
    return value.abs() if isinstance(value, Tensor) and value.is_floating_point() else value
