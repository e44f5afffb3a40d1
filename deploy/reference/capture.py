"""Capturing a user's `nn.Module` as a stored program."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from adroit.deploy.reference.convert import program_from_exported
from adroit.deploy.reference.faults import FIXED_HINT, capture_fault, run_fault
from adroit.deploy.reference.interpret import StoredProgram
from adroit.errors import AdroitError, UnsupportedModel, UsageError

# Of the largest output: what another order of the same additions may change, and no wrong operator would.
_REORDERED = 1e-4


@dataclass(frozen=True)
class CapturedInput:
    """One input of a network.

    Attributes:
        name: in the deployment.
        example: a tensor that the network takes; its shape and type count.
        free: sizes that may differ, by dimension: `{0: "batch", 2: "height", 3: "width"}`. One name has one size.
    """

    name: str
    example: Tensor
    free: Mapping[int, str] = field(default_factory=dict)


def capture(network: nn.Module, inputs: Sequence[CapturedInput]) -> StoredProgram:
    """Captures `network` in evaluation mode, and checks that the program computes the same.

    Args:
        network: its modes and weights are left as they are.
        inputs: in the order of `network.forward`'s arguments.

    Raises:
        UnsupportedModel: the network fails on the example, branches on data, fixes a size that shall be free, or
            uses an operator that is not on the list; names the module and the line of the user's code.
        UsageError: an example without a batch, or outputs that have no names.
    """
    return capture_exported(network, inputs)[1]


def capture_exported(network: nn.Module, inputs: Sequence[CapturedInput]) -> tuple[ExportedProgram, StoredProgram]:
    """As `capture`; gives the program of torch.export too, of which the stored one was made."""
    examples = [_widened(given) for given in inputs]
    with _evaluation(network), torch.no_grad(), quiet():
        outputs = run_network(network, examples)
        exported = _export(network, examples, inputs)
        program, weights = program_from_exported(exported, network, inputs, examples, list(outputs))
        with _network_at_fault():
            stored = StoredProgram(program, weights)
        _compare(network, stored, inputs, examples)
        _check_free(stored, inputs)
    return exported, stored


@contextlib.contextmanager
def _network_at_fault() -> Iterator[None]:
    """What a stored program refuses is the network's fault here, not a damaged file's."""
    try:
        yield
    except UsageError as error:
        raise UnsupportedModel(error.message, facts=error.facts, hint=error.hint) from error


def _widened(given: CapturedInput) -> Tensor:
    """The example with two of everything that is free: PyTorch takes a size of 1 for a constant."""
    example = given.example.detach()
    for axis in given.free:
        if not 0 <= axis < example.dim() or example.shape[axis] == 0:
            raise UsageError(f"the input {given.name} is {list(example.shape)}: dimension {axis} cannot be free")
        if example.shape[axis] == 1:
            example = torch.cat([example, example], axis)
    return example.clone()


@contextlib.contextmanager
def _evaluation(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; every module's own mode comes back. The reference has no fused attention, so neither here."""
    modes = [(module, module.training) for module in network.modules()]
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        network.eval()
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing of what PyTorch's exporter logs, warns of or prints."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        text = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def run_network(network: nn.Module, examples: Sequence[Tensor]) -> dict[str, Tensor]:
    """The outputs of a user's network by name: keys of a dictionary, else `output0` and so on.

    Raises:
        UnsupportedModel: the network fails (names the module and the line), or returns something else than tensors.
    """
    try:
        result = network(*(example.clone() for example in examples))
    except AdroitError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise run_fault(error, network, [list(example.shape) for example in examples]) from error
    outputs: dict[str, Tensor] = {}
    for path, value in torch.utils._pytree.tree_flatten_with_path(result)[0]:
        name = _output_name(path, len(outputs))
        if not isinstance(value, Tensor):
            raise UnsupportedModel(
                f"the network's output {name} is {type(value).__name__}, not a tensor",
                hint="return tensors only: one, or a tuple, list or dictionary of them",
            )
        if name in outputs:
            raise UnsupportedModel(f"the network has two outputs of the name {name}", hint="name them otherwise")
        outputs[name] = value
    if not outputs:
        raise UnsupportedModel("the network returns nothing", hint="return at least one tensor")
    return outputs


def _output_name(path: Sequence[Any], index: int) -> str:
    keys = [getattr(key, "key", getattr(key, "name", getattr(key, "idx", ""))) for key in path]
    return "_".join(map(str, keys)) if any(isinstance(key, str) for key in keys) else f"output{index}"


def _export(network: nn.Module, examples: Sequence[Tensor], inputs: Sequence[CapturedInput]) -> ExportedProgram:
    free = tuple({axis: torch.export.Dim.DYNAMIC for axis in given.free} for given in inputs)
    try:
        # Not strict: the network's own Python runs, so that errors come from the user's lines.
        return torch.export.export(network, tuple(examples), dynamic_shapes=_by_argument(network, free), strict=False)
    except AdroitError:
        raise
    except Exception as error:  # the exporter has no common class of errors
        raise capture_fault(error, network, inputs) from error


def _by_argument(network: nn.Module, free: tuple[Any, ...]) -> Any:
    """`forward(*tensors)` has one argument that holds all of the tensors."""
    import inspect

    kinds = [p.kind for p in inspect.signature(network.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return free
    first = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return (*free[:first], free[first:])


def _compare(
    network: nn.Module, stored: StoredProgram, inputs: Sequence[CapturedInput], examples: Sequence[Tensor]
) -> None:
    """The program against the network, on random values; also on one image alone, which is captured as two."""
    generator = torch.Generator().manual_seed(0)
    values = [torch.rand(x.shape, generator=generator, dtype=x.dtype) if x.is_floating_point() else x for x in examples]
    single = [x[:1] if 0 in given.free else x for given, x in zip(inputs, values, strict=True)]
    for batch in (values, single):
        expected = run_network(network, batch)
        with _network_at_fault():
            results = stored(*batch)
        for name, value in expected.items():
            _compare_one(name, value, results[name])


def _check_free(stored: StoredProgram, inputs: Sequence[CapturedInput]) -> None:
    """Sizes that shall be free must be: the program takes twice the example's, or half of them."""
    if not any(axis for given in inputs for axis in given.free):
        return
    faults = []
    for factor in (2.0, 0.5):
        shapes = [
            [_scaled(size, factor) if axis and axis in given.free else size for axis, size in enumerate(spec.example)]
            for given, spec in zip(inputs, stored.program.inputs, strict=True)
        ]
        try:
            stored.output_shapes(shapes)
            return
        except AdroitError as error:
            faults.append(error)
    raise UnsupportedModel(
        "the network does not take other sizes than its example's, where sizes shall be free",
        facts=faults[0].facts,
        hint=FIXED_HINT,
    )


def _scaled(size: int, factor: float) -> int:
    return max(2, round(size * factor))


def _compare_one(name: str, expected: Tensor, result: Tensor) -> None:
    if expected.shape == result.shape and torch.equal(expected.nan_to_num(), result.nan_to_num()):
        return
    reason = f"shapes {list(expected.shape)} and {list(result.shape)}"
    if expected.shape == result.shape:
        difference = (expected.double() - result.double()).abs().max()
        if float(difference) <= _REORDERED * float(expected.double().abs().max()):
            return
        reason = f"they differ by up to {float(difference):.3g}"
    raise UnsupportedModel(
        f"the captured network does not compute what the network computes: output {name}",
        facts={"reason": reason},
        hint="does it draw random numbers, keep a state between calls, or branch on the size of the batch?",
    )
