"""Runs a module and its replacement on the same random numbers: the proof that one may stand for the other."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adroit.models.adoption.hooks import remove_hooks
from adroit.models.adoption.replacement import NotAdopted, Replacement

# Relative to the largest result. Both sides sum the same terms, at most some 10,000 of them, in another order; a
# different layer is off by far more.
_TOLERANCES: dict[torch.dtype, float] = {torch.float64: 1e-11, torch.float32: 1e-4}
# Types and numbers of filters to run with, one after the other until the original runs; None: all of them.
_ATTEMPTS = ((torch.float64, 8), (torch.float64, None), (torch.float32, None))
# Spread of the random input: well past the ranges at which a quantizer or a clamp of another copy would show.
_SPREAD = 8.0


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        difference: the largest, relative to the largest result; None where the original cannot run.
        note: what is to be said of it; else empty.
    """

    difference: float | None
    note: str = ""


def compare(original: nn.Module, replacement: Replacement) -> Comparison:
    """Compares copies of both, in evaluation mode and without hooks, in float64 where the original runs in it.

    Raises:
        NotAdopted: they differ, or the original cannot run and its class is not `trusted`.
    """
    failure = ""
    for dtype, count in _ATTEMPTS:
        try:
            theirs = _run(original, replacement, 0, dtype, count)
        except Exception as error:  # code of others can raise anything
            failure = failure or f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
            continue
        ours = _run(replacement.module, replacement, 1, dtype, count)
        difference = _difference(theirs, ours)
        if not difference <= _TOLERANCES[dtype]:
            raise NotAdopted(f"its results differ from {type(replacement.module).__name__}'s by {difference:.1e}")
        return Comparison(difference, "" if dtype == torch.float64 else "compared in float32")
    if not replacement.trusted:
        raise NotAdopted(f"it cannot be compared, since it does not run here: {failure}")
    return Comparison(None, f"not compared, since it does not run here: {failure}")


def _run(module: nn.Module, replacement: Replacement, side: int, dtype: torch.dtype, count: int | None) -> Tensor:
    """The result of a copy of `module` with its first `count` filters; `side` is 0 for the original, else 1."""
    tensors = [*module.parameters(), *module.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    if device.type == "meta":
        raise RuntimeError("its tensors hold no numbers (they are on the device meta)")
    generator = torch.Generator("cpu").manual_seed(0)
    numbers = torch.randn(replacement.example, generator=generator, dtype=torch.float64, device="cpu")
    example = (numbers * _SPREAD).to(device, dtype)
    cut: dict[int, nn.Parameter] = {}
    for name in (names[side] for names in replacement.filters if count is not None):
        whole = module._parameters.get(name)
        if whole is not None:
            cut[id(whole)] = nn.Parameter(whole.detach()[:count].clone(), whole.requires_grad)
    duplicate = copy.deepcopy(module, cut).to(dtype).eval()  # takes what is in `cut` in place of a copy
    remove_hooks(duplicate)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        result = duplicate.forward(example)
    if not isinstance(result, Tensor):
        raise TypeError(f"it returns {type(result).__name__}, not a tensor")
    return result


def _difference(theirs: Tensor, ours: Tensor) -> float:
    """The largest difference, relative to the largest result; infinite for other shapes, NaN for other NaNs."""
    if theirs.shape != ours.shape:
        return float("inf")
    if theirs.numel() == 0 or torch.equal(theirs.nan_to_num(), ours.nan_to_num()):
        return 0.0
    scale = max(1.0, theirs.abs().max().item())
    return (theirs - ours).abs().max().item() / scale
