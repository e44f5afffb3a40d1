"""Loads weights into a network after every name, shape, kind and value is checked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adroit.errors import AdroitWarning, UnsupportedModel
from adroit.models.checkpoints.extras import describe_extras, is_extra

if TYPE_CHECKING:
    from torch import Tensor, nn

# Fields under which training code holds the network: they are before every name of what it saves. A network behind a
# normalization in an nn.Sequential is its number 1.
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.", "network.", "1.")
_LISTED = 10
# Counts batches; nothing that is computed in evaluation depends on it, and old files lack it.
_COUNTER = "num_batches_tracked"


def fit_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    source: str,
    architecture: str = "",
    names: Mapping[str, str] | None = None,
) -> None:
    """Loads `weights` into `network`, strictly.

    A prefix that every tensor has (as `model.`) is taken off where the network's names have none, and put on where
    only the network's have it. Where a batch norm's counter of batches is missing, the network's stays; where there is
    one too many, it is passed over. What tools add to weights (models/checkpoints/extras.py) and the network does not
    have is passed over, which is a AdroitWarning.

    Args:
        weights: by the names that the file has, as `read_weights` gives them.
        source: the file, for errors. architecture: the network's name, for errors; its class if "".
        names: the network's tensor name to the file's, where they differ.

    Raises:
        UnsupportedModel: names the missing, unexpected and misshapen tensors (the first ten of each), or those of
            another kind, or that are NaN, infinite, or a variance below 0.
    """
    own = network.state_dict()
    file_name = {name: (names or {}).get(name, name) for name in own}
    expected = {file_name[name]: tensor for name, tensor in own.items()}
    weights = _match_counters(_without_extras(_match_prefix(weights, expected), expected, source), expected)
    _check_names_and_shapes(expected, weights, source, architecture or type(network).__name__)
    _check_kinds(expected, weights, source)
    # As the network will hold them: a float64 value may be too large for float32.
    held = {name: tensor.to(expected[name].dtype) for name, tensor in weights.items()}
    _check_values(held, source)
    network.load_state_dict({name: held[theirs] for name, theirs in file_name.items()})


def _match_prefix(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Takes off prefixes that all have, one after the other, as long as no name is the network's."""
    given = weights
    while not expected.keys() & weights.keys():
        own = [name for name, tensor in weights.items() if not is_extra(name, tensor)]
        prefix = next((p for p in _PREFIXES if own and all(name.startswith(p) for name in own)), "")
        if not prefix:
            return _add_prefix(given, expected)
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _add_prefix(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Puts on the prefix that all names of the network have; where it does not help, errors speak of the file's own."""
    prefix = next((p for p in _PREFIXES if expected and all(name.startswith(p) for name in expected)), "")
    added = {prefix + name: tensor for name, tensor in weights.items()}
    return added if prefix and expected.keys() <= added.keys() else weights


def _without_extras(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> Mapping[str, Tensor]:
    extras = {name: t for name, t in weights.items() if name not in expected and is_extra(name, t)}
    if extras:
        warnings.warn(f"{source}: passed over {describe_extras(extras)}", AdroitWarning, stacklevel=3)
    return {name: tensor for name, tensor in weights.items() if name not in extras}


def _match_counters(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    def is_counter(name: str) -> bool:
        return name.rpartition(".")[2] == _COUNTER

    own = {name: tensor for name, tensor in expected.items() if is_counter(name) and name not in weights}
    return {name: t for name, t in weights.items() if name in expected or not is_counter(name)} | own


def _check_names_and_shapes(
    expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: str, architecture: str
) -> None:
    misshapen = {n for n in expected.keys() & weights.keys() if expected[n].shape != weights[n].shape}
    problems = {
        "missing": [name for name in expected if name not in weights],
        "unexpected": [name for name in weights if name not in expected],
        "of another shape": [
            f"{name} is {list(weights[name].shape)}, expected {list(expected[name].shape)}"
            for name in expected
            if name in misshapen
        ],
    }
    count = sum(map(len, problems.values()))
    if count and (part := _only_part(expected, weights)):
        missing = [name for name in expected if not name.startswith(f"{part}.")]
        raise UnsupportedModel(
            f"{source} holds the {part} of {architecture} alone",
            facts={f"{len(missing)} missing": _first(missing)},
            hint="import a checkpoint of the whole network: with layers that were never trained it gives no results",
        )
    if count:
        raise UnsupportedModel(
            f"{source} does not hold the weights of {architecture}: {count} tensors differ",
            facts={f"{len(texts)} {kind}": _first(texts) for kind, texts in problems.items() if texts},
            hint=_hint(expected, weights, misshapen),
        )


def _only_part(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """The module of the network whose tensors, with or without its name, are all that the file holds; "" if none."""

    def shapes(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, Any]:
        return {prefix + name: t.shape for name, t in tensors.items() if not name.endswith(_COUNTER)}

    own = shapes(expected)
    for part in dict.fromkeys(name.partition(".")[0] for name in own):
        wanted = {name: shape for name, shape in own.items() if name.startswith(f"{part}.")}
        if len(wanted) < len(own) and wanted in (shapes(weights), shapes(weights, f"{part}.")):
            return part
    return ""


def _first(texts: list[str]) -> str:
    more = f", and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    separator = "; " if "," in texts[0] else ", "
    return separator.join(texts[:_LISTED]) + more


def _hint(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], misshapen: set[str]) -> str:
    """What is most likely wrong: a prefix, the number of classes, or another network."""
    for whose, longer, other in (("the file's", weights, expected), ("the network's", expected, weights)):
        for prefix in dict.fromkeys(name.partition(".")[0] + "." for name in longer):
            fitting = sum(f"{prefix}{name}" in longer for name in other)
            if 2 * fitting > max(len(other), 2 * len(expected.keys() & weights.keys())):
                return f"{whose} names begin with {prefix!r}, and the others do not: rename the tensors"
    pairs = {(weights[n].shape[:1], expected[n].shape[:1]) for n in misshapen}
    same_rest = all(weights[n].shape[1:] == expected[n].shape[1:] for n in misshapen)
    if len(pairs) == 1 and same_rest and expected.keys() == weights.keys():
        ((there, here),) = pairs
        if there and here and there != here:
            return f"the file's last layer has {there[0]} classes, the network's {here[0]}: make it with {there[0]}"
    return "check the network's name and arguments (number of classes, for one)"


def _check_kinds(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: str) -> None:
    """Only plain tensors of numbers that the network's own can hold."""
    import torch

    wrong = []
    for name, tensor in weights.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.is_floating_point() != expected[name].is_floating_point() or tensor.is_complex():
            dtype = str(tensor.dtype).removeprefix("torch.")
            wrong.append(f"{name} is {dtype} on {tensor.device.type}, {tensor.layout}")
    if wrong:
        raise UnsupportedModel(
            f"{source} has tensors of another kind than the network's", facts={f"{len(wrong)}": _first(wrong)}
        )


def _check_values(held: Mapping[str, Tensor], source: str) -> None:
    bad = [name for name, t in held.items() if t.is_floating_point() and not t.isfinite().all()]
    bad += [name for name, t in held.items() if name.endswith("running_var") and bool((t < 0).any())]
    if bad:
        raise UnsupportedModel(
            f"{source} has weights that are NaN, infinite, or a variance below 0",
            facts={"tensors": _first(sorted(set(bad)))},
        )
