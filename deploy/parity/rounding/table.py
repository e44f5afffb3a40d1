"""The rule of an operation: of adroit's operators from their files, of PyTorch's from this folder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adroit.deploy.operators.rules import OperatorRules, rounding_rules
from adroit.deploy.parity.rounding import elementwise, norms, products, resampling
from adroit.deploy.parity.rounding.call import Call, Rounding, Rule
from adroit.deploy.parity.rounding.exact import EXACT

_RULES = {
    f"aten.{name}": rule
    for rules in (elementwise.RULES, products.RULES, norms.RULES, resampling.RULES)
    for name, rule in rules.items()
}


def operation_name(function: Any) -> str:
    """Returns the name of an operation without its overload, such as `aten.add`; the same for `add_`."""
    namespace, _, name = str(function.overloadpacket).rpartition(".")
    return f"{namespace}.{name.rstrip('_')}"


def is_exact(function: Any) -> bool:
    """Returns whether an operation rounds nothing: it is on the list, or gives a view of its argument."""
    name = operation_name(function)
    if name in _RULES:
        return False
    return name in EXACT or bool(function.is_view)


def rule_of(function: Any) -> Rule | None:
    """Returns the rule of an operation that rounds, or None where there is none."""
    ours = rounding_rules().get(function.overloadpacket)
    return _rule_of_ours(ours) if ours else _RULES.get(operation_name(function))


def _rule_of_ours(rules: OperatorRules) -> Rule:
    def rounding(call: Call) -> Rounding:
        assert rules.rounding is not None, "rounding_rules lists operators that have one"
        return rules.rounding(call.positional, call.result)

    def zero_is_exact(call: Call) -> Tensor:
        return torch.eq(call.result, 0)

    return Rule(rounding, zero_is_exact if rules.zero_is_exact else None)
