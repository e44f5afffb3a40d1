"""RoutingGate for the toolchain: Dynamic Routing, arXiv 2003.10401, section 3.3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adroit.deploy.operators.rules import Attributes, Dimensions, OperatorRules, Shape, TorchOperator, onnx_node
from adroit.models.operators.counts import OperationCounts, routing_gate_counts

if TYPE_CHECKING:
    from torch import Tensor


def _output_shapes(inputs: Sequence[Dimensions], attributes: Attributes) -> list[Dimensions]:
    x, w2 = inputs[0], inputs[3]
    return [[x[0], w2[0]], [w2[0]]]


def _counts(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> OperationCounts:
    x, (hidden, _), _, (paths, _), *_ = inputs
    return routing_gate_counts(x, hidden, paths, attributes["shrink"])


def _smallest_input(attributes: Attributes, inputs: Sequence[Shape | None], axis: int) -> tuple[int, str]:
    return attributes["shrink"], "nothing is left when it is shrunk"


def _translate(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, threshold: Any, shrink: int) -> Any:
    return onnx_node("RoutingGate")(x, w1, b1, w2, b2, threshold, shrink=shrink)


def _rounding(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    # tanh does not amplify: the errors of the two sums bound the error of a gate.
    from adroit.models.operators.routing_gate import SMALL_GATE_SHRINK, shrink_for_gate

    x, w1, b1, w2, b2, _, shrink = arguments
    seen = shrink_for_gate(x.abs()) if shrink == SMALL_GATE_SHRINK else x.abs()
    hidden = seen.mean((2, 3)) @ w1.abs().T + b1.abs()
    return hidden @ w2.abs().T + b2.abs(), w1.shape[1] + w2.shape[1]


OPERATORS = [
    OperatorRules(
        "RoutingGate",
        _output_shapes,
        _counts,
        _smallest_input,
        TorchOperator("routing_gate", "adroit.models.operators.routing_gate", _translate),
        _rounding,
        zero_is_exact=True,  # a closed gate
    )
]
