"""Finds the table of weights in what a training script saved."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adroit.errors import AdroitWarning, UsageError
from adroit.models.checkpoints.stand_ins import PickledArray

# Fields under which training scripts put the weights, and words in those of averages of them.
PLAIN_KEYS = ("state_dict", "model", "model_state_dict", "model_state", "net", "network", "weights", "params", "module")
MOVING_AVERAGE = {"ema"}
# Which of these a training evaluates differs from one to the next.
AVERAGE_WORDS = {"swa", "avg", "average", "averaged", "teacher"}
# Of the training alone: none of it is a network's weights.
_TRAINING_WORDS = re.compile(r"optim|sched|scaler|criterion|^loss|^amp$|callbacks|loops|history|rng")
_DEPTH = 4


def choose_table(content: Any, file: Path, key: str | None) -> tuple[Mapping[Any, Any], str]:
    """The table of `content` that holds the weights, and its key ("" where it is the whole content).

    Where plain weights stand beside one moving average of them ("ema"), the average is taken: it is what such a
    training evaluates. What was taken of several tables is a AdroitWarning.

    Raises:
        UsageError: no table; several of which none is the usual one; or no table of that `key`.
    """
    if not isinstance(content, Mapping) or not content:
        kind = "an empty table" if isinstance(content, Mapping) else f"of type {type(content).__name__}"
        raise UsageError(f"{file} is refused: its content is {kind}, not a dictionary of tensors")
    tables = _tables(content)
    if key is not None:
        return _named_table(tables, file, key)
    if not tables or _is_table(content):
        _say_what_was_taken(file, "the tensors at its top", tables)
        return content, ""
    names = _usual_tables(tables)
    if len(names) > 1:
        raise UsageError(
            f"{file} holds several tables of weights",
            facts={name: f"{len(tables[name])} tensors" for name in names},
            hint=f"choose one: --weights-key {names[0]}, or --weights-key {names[-1]}",
        )
    (name,) = names
    _say_what_was_taken(file, f"{name!r}", {other: table for other, table in tables.items() if other != name})
    return tables[name], name


def _named_table(tables: Mapping[str, Mapping[Any, Any]], file: Path, key: str) -> tuple[Mapping[Any, Any], str]:
    chosen = [name for name in tables if name == key] or [name for name in tables if name.startswith(f"{key}.")]
    if len(chosen) != 1:
        raise UsageError(
            f"{file} has no table of weights {key!r}" if not chosen else f"{file}: {key!r} holds several tables",
            facts={"tables of weights": ", ".join(tables) or "none: all tensors are at the top"},
        )
    return tables[chosen[0]], chosen[0]


def _usual_tables(tables: Mapping[str, Mapping[Any, Any]]) -> list[str]:
    """The table to take, or those to choose from where that is for the user to say."""
    words = {name: set(re.split(r"\W|_", name.lower())) for name in tables}
    moving = [name for name in tables if words[name] & MOVING_AVERAGE]
    averages = [name for name in tables if words[name] & AVERAGE_WORDS and name not in moving]
    special = {*moving, *averages}
    plain = [name for name in tables if name.rpartition(".")[2] in PLAIN_KEYS and name not in special]
    if len(plain) == len(moving) == 1 and not averages:
        return moving
    return [*plain, *averages, *moving] if plain else list(tables)


def _say_what_was_taken(file: Path, taken: str, others: Mapping[str, Mapping[Any, Any]]) -> None:
    weights = [f"{name!r} ({len(table)} tensors)" for name, table in others.items()]
    if weights:
        warnings.warn(
            f"{file}: took {taken}, and left out {', '.join(weights)}; --weights-key chooses another",
            AdroitWarning,
            stacklevel=5,
        )


def _tables(content: Mapping[Any, Any], depth: int = _DEPTH) -> dict[str, Mapping[Any, Any]]:
    """The tables below `content` that are tensors for the most part, by their keys, joined by dots."""
    found: dict[str, Mapping[Any, Any]] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Mapping) or _TRAINING_WORDS.search(name.lower()):
            continue
        if _is_table(value):
            found[name] = value
        elif depth > 1:
            found |= {f"{name}.{below}": table for below, table in _tables(value, depth - 1).items()}
    return found


def _is_table(content: Mapping[Any, Any]) -> bool:
    import torch

    return 2 * sum(isinstance(value, (torch.Tensor, PickledArray)) for value in content.values()) > len(content)
