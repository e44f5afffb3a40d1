"""Frozen dataclasses from tables of a TOML file, with one clear error for every field that is wrong."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_type_hints

from adroit.errors import UsageError

T = TypeVar("T")

# The types that a field may have, and what the error calls them.
_SIZE = tuple[int, int] | None
# Lists: what their items may be, and what the error calls them.
_LISTS: Mapping[Any, tuple[tuple[type, ...], str]] = {
    tuple[float, ...]: ((int, float), "numbers"),
    tuple[int, ...]: ((int,), "whole numbers"),
    tuple[str, ...]: ((str,), "strings"),
}
_WORDS: Mapping[Any, str] = {
    int: "int",
    float: "float",
    str: "str",
    bool: "bool",
    _SIZE: "[height, width]",
}


def built(kind: type[T], values: Mapping[str, Any], file: str, table: str = "", others: tuple[str, ...] = ()) -> T:
    """An instance of the dataclass `kind`, of numbers, strings, lists of them, sizes, tables and dataclasses.

    A field's metadata may hold `least` and `most` (the smallest and largest number allowed; 0 and no limit if
    absent), `choices`, `count` (how many items a list has where it is not empty), and `hidden`: not of the file.

    Args:
        values: a TOML table. file: for the errors. table: its name with a dot, "" at the top. others: names
            that the table may have besides, for the errors.

    Raises:
        UsageError: names the field that is missing, unknown, of the wrong type or of an impossible value.
    """
    hints = get_type_hints(kind)
    visible = [f for f in fields(kind) if not f.metadata.get("hidden")]  # type: ignore[arg-type]
    known: dict[str, Field[Any]] = {f.name: f for f in visible}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, (*known, *others), n=1)
            raise UsageError(
                f"{file}: {table}{name} is not a field of a recipe",
                facts={"fields": ", ".join((*known, *others))},
                hint=f"did you mean {table}{near[0]}?" if near else None,
            )
    made: dict[str, Any] = {}
    for name, definition in known.items():
        where = f"{table}{name}"
        if name not in values:
            if definition.default is MISSING and definition.default_factory is MISSING:
                raise UsageError(f"{file}: {where} is missing")
            continue
        made[name] = _value(hints[name], definition.metadata, values[name], file, where)
    return kind(**made)


def _value(wanted: Any, limits: Mapping[str, Any], value: Any, file: str, where: str) -> Any:
    if hasattr(wanted, "__dataclass_fields__"):
        if not isinstance(value, dict):
            raise UsageError(f"{file}: {where} must be a table")
        return built(wanted, value, file, f"{where}.")
    if wanted == _SIZE:
        return _size(value, file, where)
    if wanted in _LISTS:
        return _list(wanted, limits, value, file, where)
    plain = wanted if wanted in _WORDS else dict
    if plain is float and type(value) is int:
        value = float(value)
    if type(value) is not plain:
        raise UsageError(
            f"{file}: {where} must be {_WORDS.get(plain, 'a table')}, and is {type(value).__name__} {value!r}"
        )
    _check_limits(limits, value, file, where)
    return value


def _size(value: Any, file: str, where: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or any(type(side) is not int or side < 1 for side in value):
        raise UsageError(f"{file}: {where} must be [height, width] in pixels, and is {value!r}")
    return value[0], value[1]


def _list(wanted: Any, limits: Mapping[str, Any], value: Any, file: str, where: str) -> tuple[Any, ...]:
    kinds, words = _LISTS[wanted]
    count = limits.get("count")
    if not isinstance(value, list) or any(type(item) not in kinds for item in value):
        raise UsageError(f"{file}: {where} must be a list of {words}, and is {value!r}")
    if count and len(value) not in (0, count):
        raise UsageError(f"{file}: {where} must have {count} {words}, and has {len(value)}")
    for place, item in enumerate(value):
        _check_limits(limits, item, file, f"{where}[{place}]")
    return tuple(float(item) if float in kinds else item for item in value)


def _check_limits(limits: Mapping[str, Any], value: Any, file: str, where: str) -> None:
    choices, least, most = limits.get("choices"), limits.get("least", 0), limits.get("most")
    if choices and value not in choices:
        raise UsageError(f"{file}: {where} must be one of {', '.join(choices)}, and is {value!r}")
    if not isinstance(value, (int, float)):
        return
    if not value >= least:
        wrong = f"at least {least}" if least else "not be negative"
        raise UsageError(f"{file}: {where} must {'be ' if least else ''}{wrong}, and is {value}")
    if not math.isfinite(value) or (most is not None and value > most):
        raise UsageError(f"{file}: {where} must be {'finite' if most is None else f'at most {most}'}, and is {value}")
