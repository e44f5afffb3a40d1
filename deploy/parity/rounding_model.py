"""The tolerance of a whole network: how far correct float32 (or float16) arithmetic may move each of its tensors.

The float64 network is run again with a random error in the result of every operation, drawn
uniformly within that operation's own limit (rounding/). How far a tensor moves, as a root mean
square over a few such runs, measures how the network amplifies rounding; a correct implementation's
error stays below a few times that. The same holds for every tensor in between, which is what the
search for the first wrong layer needs.

Source: the principle is stochastic arithmetic (CESTAC; Vignes, Mathematics and Computers in
Simulation 35, 1993), with the per-operation limits of tolerance.py in place of single round-offs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from adroit.deploy.parity.rounding.call import Call, NoRule, named_arguments, written_copies, written_names
from adroit.deploy.parity.rounding.empirical import measured_limits, rounded_results
from adroit.deploy.parity.rounding.table import is_exact, operation_name, rule_of
from adroit.deploy.parity.tolerance import SAFETY, UNIT_ROUNDOFF, rounding_limit

SAMPLES = 4
# With fewer elements an image, four samples say too little about its movement: the whole tensor's counts too.
_FEW_ELEMENTS = 8


@dataclass(frozen=True)
class Limits:
    """What a computation gives in float64, and how far correct arithmetic in the deployment's type may be from it.

    Attributes:
        references: tensors by name, in float64; integers and truth values as they are.
        limits: of each element, float64 tensors of the same shapes.
        empirical: operations without a rounding rule, such as `aten.special_erfcx`: their error was measured.
    """

    references: dict[str, Tensor]
    limits: dict[str, Tensor]
    empirical: frozenset[str]


def limits_of(
    compute: Callable[[Sequence[Tensor]], Mapping[str, Tensor]],
    inputs: Sequence[Tensor],
    seed: int = 0,
    precision: str = "float32",
) -> Limits:
    """Computes tensors in float64, and the limit of each of their elements.

    Args:
        compute: gives tensors by name from the inputs; it computes in float64, always the same tensors. It is called
            with copies of the inputs.
        inputs: floating-point ones are converted to float64, others passed through.
        seed: of the random errors.
        precision: key of UNIT_ROUNDOFF: the type that the deployment computes in. In float16 the inputs and the
            weights are rounded too; where some of its operations stay float32 the limit is generous.

    Returns:
        A limit is the precision's round-off of the value plus SAFETY times its movement; the movement is taken per
        image (slice of the first dimension), and per element where that is larger, since a few samples say little
        about one element. An element that is not finite in float64 has no limit but must be the same; one that
        some samples turn infinite or NaN has an infinite limit. Integers and truth values have one where samples change
        them.
    """
    unit = UNIT_ROUNDOFF[precision]
    exact = [x.double() if x.is_floating_point() else x for x in inputs]
    with _plain_attention(), torch.no_grad():
        references = {name: _wide(value) for name, value in compute([x.clone() for x in exact]).items()}
        squares = {name: torch.zeros(value.shape, dtype=torch.float64) for name, value in references.items()}
        empirical: set[str] = set()
        for sample in range(SAMPLES):
            perturbed = _Perturbed(torch.Generator().manual_seed(seed + sample), precision, empirical)
            start = [x.clone() if precision == "float32" else perturbed.rounded(x) for x in exact]
            with perturbed:
                moved = compute(start)
            for name, square in squares.items():
                square += _movement(moved[name], references[name]).square() / SAMPLES
    limits = {name: unit * _size(references[name]) + SAFETY * _spread(square) for name, square in squares.items()}
    for name, value in references.items():
        limits[name][~value.isfinite()] = 0.0
    return Limits(references, limits, frozenset(empirical))


def _wide(value: Tensor) -> Tensor:
    """A copy, in float64 where it is floating-point; later runs may write to the tensor itself."""
    return value.detach().to(torch.float64 if value.is_floating_point() else value.dtype, copy=True)


def _size(value: Tensor) -> Tensor:
    """Absolute values of what is rounded; integers are not."""
    return value.double().abs() if value.is_floating_point() else torch.zeros(value.shape, dtype=torch.float64)


def _movement(moved: Tensor, reference: Tensor) -> Tensor:
    return torch.where(moved == reference, 0.0, moved.double() - reference.double())


def _spread(square: Tensor) -> Tensor:
    """Returns the root mean square movement of each element, or that of its image where that is larger."""
    finite = square.nan_to_num(0.0, 0.0, 0.0)
    if not square.numel():
        return square
    # The mean over no dimensions is that over all of them: of a single row of numbers, all are one image.
    per_image = finite.mean(dim=tuple(range(1, square.dim())), keepdim=True)
    spread = torch.maximum(square.nan_to_num(torch.inf, torch.inf), per_image)
    if square.dim() and square[0].numel() < _FEW_ELEMENTS:
        spread = torch.maximum(spread, finite.mean())
    return spread.sqrt()


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """PyTorch's modules of attention compute step by step, not in one operation that has no rule."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _Perturbed(TorchDispatchMode):
    """Adds a random error within each operation's limit to its floating-point results.

    Operations without a rule are added to `empirical`.
    """

    supports_higher_order_operators = True

    def __init__(self, generator: torch.Generator, precision: str, empirical: set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator, self._precision, self._empirical = generator, precision, empirical

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return self._with_functions(func, args, kwargs)
        if is_exact(func):
            return func(*args, **kwargs)
        named = named_arguments(func, args, kwargs)
        written = [named[name] for name in written_names(func)]
        arguments = written_copies(func, named)
        positional = list(arguments.values())[: len(args)]
        result = func(*args, **kwargs)
        results = rounded_results(result)
        if not results:
            return result
        moved = self._moved(Call(func, positional, arguments, results, self._precision))
        return _replaced(result, results, moved, written)

    def _with_functions(self, func: HigherOrderOperator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Runs an operation that calls functions: of torch.cond the branch that is taken, with errors."""
        if func is torch.ops.higher_order.cond:
            predicate, taken, otherwise, operands = args
            with self:
                return (taken if predicate else otherwise)(*operands)
        self._empirical.add(str(func))
        return func(*args, **kwargs)

    def _moved(self, call: Call) -> list[Tensor]:
        """Returns the results with errors."""
        rule = rule_of(call.function)
        if rule is None or call.result.is_complex():
            return self._measured(call)
        try:
            rounding = rule.rounding(call)
        except NoRule:
            return self._measured(call)
        moved = list(call.results)
        for place, (magnitude, terms) in enumerate(rounding if isinstance(rounding, list) else [rounding]):
            if place < len(moved):
                limit = rounding_limit(moved[place], magnitude, terms, self._precision, self._precision)
                moved[place] = self._within(moved[place], limit)
        if rule.nonnegative:
            moved[0] = moved[0].abs()
        if rule.exact is not None:
            moved[0] = torch.where(rule.exact(call), call.result, moved[0])
        return moved

    def _measured(self, call: Call) -> list[Tensor]:
        self._empirical.add(operation_name(call.function))
        return [self._within(*pair) for pair in zip(call.results, measured_limits(call), strict=True)]

    def _within(self, value: Tensor, limit: Tensor) -> Tensor:
        """Returns the value with a random error; what is not finite stays as it is."""
        if value.is_complex():
            parts = torch.view_as_real(value)
            return torch.view_as_complex(self._within(parts, limit.unsqueeze(-1).expand(parts.shape)).contiguous())
        error = torch.rand(limit.shape, generator=self._generator, dtype=limit.dtype).mul_(2).sub_(1)
        moved = (value + error * limit).to(value.dtype)
        return moved if moved.sum().isfinite() else torch.where(moved.isfinite(), moved, value)

    def rounded(self, x: Tensor) -> Tensor:
        """Returns an input that is cast to the shorter type first."""
        return self._within(x, UNIT_ROUNDOFF[self._precision] * x.abs()) if x.is_floating_point() else x.clone()


def _replaced(result: Any, results: Sequence[Tensor], moved: Sequence[Tensor], written: Sequence[Any]) -> Any:
    """Returns the result with its tensors replaced; those that the operation wrote to get their new values."""
    replacements: dict[int, Tensor] = {}
    for old, new in zip(results, moved, strict=True):
        if any(old is target for target in written):
            old.copy_(new)
        else:
            replacements[id(old)] = new
    if not replacements:
        return result
    leaves, structure = tree_flatten(result)
    return tree_unflatten([replacements.get(id(leaf), leaf) for leaf in leaves], structure)


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
        References and limits by module path, shaped as the outputs; see limits_of.
    """
    found = limits_of(
        lambda inputs: module_outputs(network, (inputs[0], *arguments), modules), [x], seed=seed, precision=precision
    )
    return found.references, found.limits


def module_outputs(network: nn.Module, arguments: Sequence[Any], modules: Sequence[str]) -> dict[str, Tensor]:
    """The outputs of `modules` by their paths, "" for the network itself, for one run of `network(*arguments)`."""
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
