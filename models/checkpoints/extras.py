"""Tensors that tools add to a network's own, and that a network without them does not need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

COUNTER, OPERATIONS, NORMALIZATION, LOSS, COPY = (
    "counters of the training",
    "operation counts of thop",
    "a wrapper's normalization",
    "weights of the loss",
    "an attack's second copy of the network",
)
_OPERATION_COUNTS = {"total_ops", "total_params"}
_COUNTERS = {
    "n_averaged", "epoch", "iteration", "iter", "step", "global_step", "best_acc", "best_acc1", "best_pred",
    "num_updates", "decay", "initted",
}  # fmt: skip
_MEANS = {f"{prefix}{name}" for prefix in ("", "_", "new_", "pixel_", "image_", "img_") for name in ("mean", "std")}
_LOSSES = ("criterion.", "loss.", "loss_fn.", "loss_func.")
_COPIES = ("attacker.", "module.attacker.")
_CHANNELS = 4


def is_extra(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is, by its name and size, of a tool and not of a network."""
    return bool(extra_kind(name, tensor))


def extra_kind(name: str, tensor: Tensor) -> str:
    """What tool a tensor of a checkpoint comes from, as a user would name it; "" where it looks like a weight."""
    place, _, last = name.rpartition(".")
    if last in _OPERATION_COUNTS and tensor.numel() == 1:
        return OPERATIONS
    is_alone = place in ("", "module", "_orig_mod") and tensor.numel() == 1
    if is_alone and (last in _COUNTERS or not tensor.is_floating_point()):
        return COUNTER
    if name.startswith(_COPIES):
        return COPY
    if last in _MEANS and tensor.numel() <= _CHANNELS:
        return NORMALIZATION
    return LOSS if name.startswith(_LOSSES) else ""


def describe_extras(extras: Mapping[str, Tensor]) -> str:
    """One line that names what was passed over, kind by kind; a normalization with its numbers."""
    kinds: dict[str, list[str]] = {}
    for name, tensor in extras.items():
        kind = extra_kind(name, tensor)
        numbers = [round(float(value), 4) for value in tensor.flatten()] if kind == NORMALIZATION else None
        kinds.setdefault(kind, []).append(f"{name} {numbers}" if numbers else name)
    texts = [f"{kind} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" for kind, names in kinds.items()]
    advice = "; a deployment normalizes by its preprocessing: compare the numbers" if NORMALIZATION in kinds else ""
    return "; ".join(texts) + advice
