"""RoutingDecision for the toolchain: Dynamic Routing, arXiv 2003.10401, section 3.3.

A pass makes it (deploy/passes/branch_on_gates.py), so there is no torch operator. It is not counted: networks with
branches are counted by their routes (models/routing/cost.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from adroit.deploy.operators.rules import Attributes, Dimensions, OperatorRules


def _output_shapes(inputs: Sequence[Dimensions], attributes: Attributes) -> list[Dimensions]:
    gates, live, _, reach, shown = inputs
    return [gates, live, [gates[0], reach[1]], [shown[1]]]


OPERATORS = [OperatorRules("RoutingDecision", _output_shapes)]
