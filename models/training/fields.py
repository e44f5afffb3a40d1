"""Frozen dataclasses from tables of a TOML file, with one clear error for every field that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_type_hints

from models.errors import UsageError

T = TypeVar("T")

# The types that a field may have, and what the error calls them.
_SIZE = tuple[int, int] | None
_WORDS: Mapping[Any, str] = {int: "int", float: "float", str: "str", bool: "bool", _SIZE: "[height, width]"}


def built(kind: type[T], values: Mapping[str, Any], file: str, table: str = "") -> T:
    """An instance of the dataclass `kind`, whose fields are numbers, strings, sizes, tables or dataclasses.

    A field's metadata may hold `least` (the smallest number allowed; 0 if absent) and `choices`.

    Args:
        values: a TOML table. file: for the errors. table: its name with a dot, "" at the top.

    Raises:
        UsageError: names the field that is missing, unknown, of the wrong type or of an impossible value.
    """
    hints = get_type_hints(kind)
    known: dict[str, Field[Any]] = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise UsageError(f"{file}: {table}{name} is not a field of a recipe", facts={"fields": ", ".join(known)})
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


def _check_limits(limits: Mapping[str, Any], value: Any, file: str, where: str) -> None:
    choices, least = limits.get("choices"), limits.get("least", 0)
    if choices and value not in choices:
        raise UsageError(f"{file}: {where} must be one of {', '.join(choices)}, and is {value!r}")
    if isinstance(value, (int, float)) and not value >= least:
        wrong = f"at least {least}" if least else "not be negative"
        raise UsageError(f"{file}: {where} must {'be ' if least else ''}{wrong}, and is {value}")
