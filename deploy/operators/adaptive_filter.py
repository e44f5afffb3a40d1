"""AdaptiveFilter for the toolchain: adaptive anti-aliasing, arXiv 2008.09604, section 3."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from adroit.deploy.operators.rules import Attributes, Dimensions, OperatorRules, Shape, TorchOperator, onnx_node
from adroit.models.operators.counts import OperationCounts

if TYPE_CHECKING:
    from torch import Tensor


def _output_shapes(inputs: Sequence[Dimensions], attributes: Attributes) -> list[Dimensions]:
    x, logits = inputs
    return [[x[0], x[1], logits[2], logits[3]]]


def _counts(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> OperationCounts:
    """The filter and the softmax; what predicts the logits is a convolution of its own."""
    weights = prod(inputs[1])
    # For each logit of the softmax: the maximum's comparison, difference, exponential, sum, division.
    return OperationCounts(
        multiply_adds=prod(outputs[0]) * attributes["kernel_size"] ** 2,
        elementwise=4 * weights,
        transcendental=weights,
    )


def _smallest_input(attributes: Attributes, inputs: Sequence[Shape | None], axis: int) -> tuple[int, str]:
    return attributes["kernel_size"] // 2 + 1, "the reflection at its edges needs more"


def _translate(x: Any, logits: Any, kernel_size: int, stride: int, groups: int, joint_softmax: bool) -> Any:
    return onnx_node("AdaptiveFilter")(
        x, logits, kernel_size=kernel_size, stride=stride, groups=groups, joint_softmax=int(joint_softmax)
    )


def _rounding(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    # Weights of the softmax, each within a few round-offs, times values, summed.
    from adroit.models.operators.adaptive_filter import adaptive_filter

    x, *others = arguments
    magnitude: Tensor = adaptive_filter(x.abs(), *others)
    return magnitude, arguments[2] ** 2 + arguments[1].shape[1]


def _compute(a: Attributes, x: Tensor, logits: Tensor) -> Tensor:
    from adroit.models.operators.adaptive_filter import adaptive_filter

    filtered: Tensor = adaptive_filter(x, logits, a["kernel_size"], a["stride"], a["groups"], bool(a["joint_softmax"]))
    return filtered


OPERATORS = [
    OperatorRules(
        "AdaptiveFilter",
        _output_shapes,
        _counts,
        _smallest_input,
        TorchOperator("adaptive_filter", "adroit.models.operators.adaptive_filter", _translate),
        _rounding,
        compute=_compute,
    )
]
