"""The tolerance of a whole network: how far correct float32 (or float16) arithmetic may move each of its tensors.

The float64 network is run again with a random error in the result of every operation, drawn
uniformly within that operation's own limit (tolerance.py). How far a tensor moves, as a root mean
square over a few such runs, measures how the network amplifies rounding; a correct implementation's
error stays below a few times that. The same holds for every tensor in between, which is what the
search for the first wrong layer needs.

Source: the principle is stochastic arithmetic (CESTAC; Vignes, Mathematics and Computers in
Simulation 35, 1993), with the per-operation limits of tolerance.py in place of single round-offs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from adroit.deploy.operators.rules import RoundingRule, rounding_rules
from adroit.deploy.parity.tolerance import SAFETY, UNIT_ROUNDOFF, rounding_limit
from adroit.errors import UnsupportedModel

SAMPLES = 4


def _convolution(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    x, weight, bias, *rest = arguments
    magnitude = torch.ops.aten.convolution(x.abs(), weight.abs(), None if bias is None else bias.abs(), *rest)
    return magnitude, weight[0].numel()


def _addmm(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    bias, a, b = arguments
    return torch.addmm(bias.abs(), a.abs(), b.abs()), b.shape[0]


def _batch_norm(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    x, gamma, beta, mean, variance = arguments[:5]
    epsilon = arguments[-1]
    column = (-1, *[1] * (x.dim() - 2))
    factor = (gamma.abs() / torch.sqrt(variance + epsilon)).view(column)
    return (x.abs() + mean.abs().view(column)) * factor + beta.abs().view(column), 2


def _mean(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    magnitude = torch.ops.aten.mean(arguments[0].abs(), *arguments[1:])
    return magnitude, max(1, arguments[0].numel() // result.numel())


def _sum_of_two(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    a, b = (torch.as_tensor(v, dtype=result.dtype).abs() for v in arguments[:2])
    return a + b, 2


def _matrix_product(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    a, b = arguments[:2]
    return torch.matmul(a.abs(), b.abs()), a.shape[-1]


def _sum(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    magnitude = torch.ops.aten.sum(arguments[0].abs(), *arguments[1:])
    return magnitude, max(1, arguments[0].numel() // result.numel())


def _softmax(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    return result.abs(), arguments[0].shape[arguments[1]]


def _one_operation(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    return result.abs(), 1


def _interpolation(arguments: Sequence[Any], result: Tensor) -> tuple[Tensor, int]:
    return result.abs(), 4


_ATEN = torch.ops.aten
RULES: Mapping[Any, RoundingRule] = {
    _ATEN.upsample_bilinear2d: _interpolation,
    _ATEN.convolution: _convolution,
    _ATEN.addmm: _addmm,
    _ATEN.native_batch_norm: _batch_norm,
    _ATEN._native_batch_norm_legit_no_training: _batch_norm,
    _ATEN.mean: _mean,
    _ATEN._adaptive_avg_pool2d: lambda arguments, result: (
        _ATEN._adaptive_avg_pool2d(arguments[0].abs(), arguments[1]),
        arguments[0].numel() // result.numel(),
    ),
    _ATEN.avg_pool2d: lambda arguments, result: (
        _ATEN.avg_pool2d(arguments[0].abs(), *arguments[1:]),
        math.prod(arguments[1]),
    ),
    **{getattr(_ATEN, name): _sum_of_two for name in ("add", "add_", "sub", "sub_")},
    **{getattr(_ATEN, name): _matrix_product for name in ("mm", "bmm")},
    _ATEN.sum: _sum,
    _ATEN._softmax: _softmax,
    **{
        getattr(_ATEN, name): _one_operation
        for name in (
            *("mul", "mul_", "div", "div_", "tanh", "exp", "sqrt", "rsqrt", "sigmoid", "reciprocal", "pow"),
            "leaky_relu",
        )
    },
}
# Operations that choose or move values and round nothing.
EXACT = frozenset(
    getattr(_ATEN, name)
    for name in (
        "relu",
        "relu_",
        "new_zeros",
        "zeros",
        "ones",
        "full",
        "scalar_tensor",
        "lift_fresh",
        "lift_fresh_copy",
        "empty_like",
        "empty",
        "fill_",
        "zero_",
        "flip",
        "max_pool2d_with_indices",
        "clone",
        "_to_copy",
        "detach",
        "view",
        "_unsafe_view",
        "alias",
        "expand",
        "permute",
        "transpose",
        "t",
        "slice",
        "select",
        "squeeze",
        "unsqueeze",
        "cat",
        "copy_",
        "reflection_pad2d",
        "constant_pad_nd",
        "split",
        "clamp",
        "clamp_min",
        "neg",
        "abs",
        "zeros_like",
        "ones_like",
        "where",
        "as_strided",
    )
)


def _rule_of(operation: Any) -> RoundingRule:
    ours = rounding_rules().get(operation)
    rule = ours.rounding if ours else RULES.get(operation)
    if rule is None:
        raise UnsupportedModel(
            f"there is no rounding rule for {operation}, so no limit can be given",
            hint="add one to deploy/parity/rounding_model.py, or for an operator of adroit to its file in"
            " deploy/operators",
        )
    return rule


class _Perturbed(TorchDispatchMode):
    """Adds a random error within each operation's limit to its (first) float64 result."""

    def __init__(self, generator: torch.Generator, precision: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator, self._precision = generator, precision

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = func.overloadpacket
        first = result[0] if isinstance(result, tuple) else result
        if operation in EXACT or not isinstance(first, Tensor) or first.dtype != torch.float64:
            return result
        moved = self._moved(_rule_of(operation), args, first)
        if operation in rounding_rules() and rounding_rules()[operation].zero_is_exact:
            moved = torch.where(first == 0, first, moved)
        return (moved, *result[1:]) if isinstance(result, tuple) else moved

    def _moved(self, rule: RoundingRule, args: Sequence[Any], result: Tensor) -> Tensor:
        magnitude, terms = rule(args, result)
        return result + self._within(rounding_limit(result, magnitude, terms, self._precision, self._precision))

    def _within(self, limit: Tensor) -> Tensor:
        error = torch.rand(limit.shape, generator=self._generator, dtype=limit.dtype).mul_(2).sub_(1)
        return error * limit

    def rounded(self, x: Tensor) -> Tensor:
        """Returns an input that is cast to the shorter type first."""
        return x + self._within(UNIT_ROUNDOFF[self._precision] * x.abs())


def run_with_limits(
    network: nn.Module,
    x: Tensor,
    modules: Sequence[str],
    seed: int = 0,
    arguments: Sequence[Any] = (),
    precision: str = "float32",
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Computes the outputs of `modules` (paths; "" is the network) in float64, and the limit of each element.

    Args:
        network: in float64 and evaluation mode.
        x: its input, float64.
        modules: whose outputs to return; each must run once and return a tensor.
        arguments: further arguments of the network.
        precision: key of UNIT_ROUNDOFF: the type that the deployment computes in. In float16 the input and the
            weights are rounded too; where some of its operations stay float32 the limit is generous.

    Returns:
        References and limits by module path, shaped as the outputs. A limit is the precision's round-off
        of the value plus SAFETY times its movement; the movement is taken per image, and per
        element where that is larger, since a few samples say little about one element.
    """
    unit = UNIT_ROUNDOFF[precision]
    references = _outputs(network, (x, *arguments), modules)
    squares = {path: torch.zeros_like(value) for path, value in references.items()}
    for sample in range(SAMPLES):
        perturbed = _Perturbed(torch.Generator().manual_seed(seed + sample), precision)
        start = x if precision == "float32" else perturbed.rounded(x)
        with perturbed:
            moved = _outputs(network, (start, *arguments), modules)
        for path, value in moved.items():
            squares[path] += (value - references[path]) ** 2 / SAMPLES
    limits = {}
    for path, square in squares.items():
        spread = torch.maximum(square, square.mean(dim=tuple(range(1, square.dim())), keepdim=True)).sqrt()
        limits[path] = unit * references[path].abs() + SAFETY * spread
    return references, limits


def _outputs(network: nn.Module, arguments: Sequence[Any], modules: Sequence[str]) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs[path] = output

        return hook

    handles = [network.get_submodule(path).register_forward_hook(keep(path)) for path in modules]
    try:
        with torch.no_grad():
            network(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return outputs
