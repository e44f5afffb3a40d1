"""Values of JSON and TOML files as typed msgspec structs; each wrong value is one error that names its place.

Never put a fixed-length tuple and a number or string with a constraint into one union: Python's garbage collector
then crashes in msgspec (0.23: it reads the constraint as a type). Check such a number in `__post_init__`.
"""

from __future__ import annotations

import difflib
import re
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from adroit.errors import UsageError

T = TypeVar("T")

# Constraints of numbers that many structs share. JSON and TOML readers accept NaN and infinity; these do not.
Finite = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
NonNegative = Annotated[float, Meta(ge=0.0, le=sys.float_info.max)]
Positive = Annotated[float, Meta(gt=0.0, le=sys.float_info.max)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0)]
PositiveInt = Annotated[int, Meta(ge=1)]
# An error quotes the description in place of msgspec's text.
ImageSize = Annotated[tuple[PositiveInt, PositiveInt], Meta(description="[height, width] in pixels")]

_PLACED = re.compile(r"(?P<text>.*?)(?: - at `(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>\w+)|\[(?P<index>\d+|\.\.\.)\]")
_BOUND = re.compile(r"Expected `\w+` (?P<sign>>=|<=|>|<) (?P<bound>\S+)")
_LENGTH = re.compile(r"Expected `\w+` of length (?P<sign>>=|<=)? ?(?P<length>\d+).*")
_KIND = re.compile(r"Expected `(?P<expected>[^`]*)`, got `[^`]*`")
_FIELD = re.compile(r"Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`")
_SIGNS = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}
_WORDS = {
    "object": "a table",
    "array": "a list",
    "null": "none",
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
}
_PLURALS = {int: "whole numbers", float: "numbers", str: "strings"}


def convert_values(
    values: Any, kind: type[T], *, source: str, noun: str, place: str = "", also: Sequence[str] = ()
) -> T:
    """Converts parsed JSON or TOML to the struct `kind`.

    Args:
        values: dictionaries, lists, strings and numbers, as the parser gave them.
        kind: a msgspec struct; `forbid_unknown_fields` and `Annotated` constraints hold, types are not coerced.
        source: the file (or whatever the values are from), for the error.
        noun: what the file is, with its article, for the error: "a recipe".
        place: where `values` stand in the file: "optimizer"; "" is the top.
        also: names that the place may hold besides the struct's fields, for the error's list and hint.

    Raises:
        UsageError: a missing or unknown field, a wrong type or an impossible value. The message has source,
            place (tables and keys joined by dots, places in lists in brackets) and value; a hint names the
            nearest field. A ValueError of a struct's `__post_init__` becomes one too: where its first word is
            a field, that is part of the place.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _usage_error(str(error), values, kind, source, noun, place, also) from error
    except UnicodeEncodeError as error:  # half of a pair of UTF-16, which JSON can write and nothing can store
        raise UsageError(f"{source} holds text that is no Unicode: {error.object!r}") from error


def _usage_error(
    message: str, values: Any, kind: Any, source: str, noun: str, place: str, also: Sequence[str]
) -> UsageError:
    match = _PLACED.fullmatch(message)
    assert match is not None
    text, path = match["text"], match["path"] or "$"
    where, value, kind, description = _walk(path, values, kind, place)
    wrong = _FIELD.fullmatch(text)
    if wrong is not None:
        name = f"{where}.{wrong['name']}" if where else wrong["name"]
        if wrong["fault"].startswith("missing"):
            return UsageError(f"{source}: {name} is missing")
        fields = (*(field.encode_name for field in _fields(kind)), *(also if where == place else ()))
        near = difflib.get_close_matches(wrong["name"], fields, n=1)
        return UsageError(
            f"{source}: {name} is not a field of {noun}",
            facts={"fields": ", ".join(fields)},
            hint=f"did you mean {name.removesuffix(wrong['name'])}{near[0]}?" if near else None,
        )
    subject = f"{source}: {where}" if where else source
    if description:
        return UsageError(f"{subject} must be {description}, and is {value!r}")
    if text.startswith("Invalid enum value"):
        choices = [str(choice) for member in _members(kind) for choice in _choices(member)]
        near = difflib.get_close_matches(str(value), choices, n=1)
        return UsageError(
            f"{subject} must be one of {', '.join(filter(None, choices))}, and is {value!r}",
            hint=f"did you mean {near[0]}?" if near else None,
        )
    if complaint := _complaint(text, value, kind):
        return UsageError(f"{subject} {complaint}")
    if text.split(" ")[0] in (field.encode_name for field in _fields(kind)):
        return UsageError(f"{subject}.{text}" if where else f"{subject}: {text}")
    return UsageError(f"{subject}: {text}")


def _complaint(text: str, value: Any, kind: Any) -> str:
    """What is wrong with a value, to be read after its place; "" where msgspec's own text must do."""
    if bound := _BOUND.fullmatch(text):
        limit = float(bound["bound"])
        if bound["sign"] == ">=" and limit == 0:
            return f"must not be negative, and is {value}"
        if abs(limit) == sys.float_info.max:
            return f"must be finite, and is {value}"
        return f"must be {_SIGNS[bound['sign']]} {limit:g}, and is {value}"
    if length := _LENGTH.fullmatch(text):
        words = f"{_SIGNS[length['sign']]} " if length["sign"] else ""
        return f"must have {words}{length['length']} {_items(kind) or 'items'}, and has {len(value)}"
    if expected := _KIND.fullmatch(text):
        names = [_WORDS.get(name, name) for name in expected["expected"].split(" | ")]
        if "a list" in names and (items := _items(kind)):
            names[names.index("a list")] = f"a list of {items}"
        return f"must be {' or '.join(names)}, and is {value!r}"
    return ""


def _walk(path: str, value: Any, kind: Any, place: str) -> tuple[str, Any, Any, str]:
    """Follows msgspec's `path` down to a value: its place, itself, its type, and its Meta's description.

    It ends early at a type that has a description, which speaks of the whole value.
    """
    description = _description(kind)
    for step in _STEP.finditer(path.removeprefix("$")):
        if description:
            break
        if (name := step["name"]) is not None:
            types_of = {field.encode_name: field.type for field in _fields(kind)}
            place, value, kind = f"{place}.{name}" if place else name, value.get(name), types_of.get(name, Any)
        elif step["index"] != "...":
            index = int(step["index"])
            place, value, kind = f"{place}[{index}]", value[index], _item_kind(kind, index)
        else:  # msgspec does not tell the key
            kind = _item_kind(kind, 1)
            key = next((k for k, v in value.items() if not _converts(v, kind)), "...")
            place, value = f"{place}.{key}" if place else str(key), value.get(key)
        description = _description(kind)
    return place, value, kind, description


def _converts(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _members(kind: Any) -> list[Any]:
    """The types of a union, without aliases and annotations; of another type, itself."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _members(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return [member for part in get_args(kind) for member in _members(part)]
    return [kind]


def _description(kind: Any) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        return next((text for part in get_args(kind) if (text := _description(part))), "")
    if get_origin(kind) is not Annotated:
        return ""
    return next((m.description for m in get_args(kind)[1:] if isinstance(m, Meta) and m.description), "")


def _item_kind(kind: Any, index: int) -> Any:
    """The type of a list's item, a tuple's, or (index 1) a mapping's values."""
    for member in _members(kind):
        arguments = get_args(member)
        if arguments and get_origin(member) is not Literal:
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                return arguments[0]
            return arguments[min(index, len(arguments) - 1)]
    return Any


def _items(kind: Any) -> str:
    """What a list holds, in the plural; "" where it is not numbers or strings alone."""
    lists = [member for member in _members(kind) if get_origin(member) in (list, tuple)]
    return _PLURALS.get(_members(_item_kind(lists[0], 0))[0], "") if lists else ""


def _choices(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(member.value for member in kind) if hasattr(kind, "__members__") else ()


def _fields(kind: Any) -> list[msgspec.structs.FieldInfo]:
    structs = [m for m in _members(kind) if isinstance(m, type) and issubclass(m, msgspec.Struct)]
    return [field for struct in structs for field in msgspec.structs.fields(struct)]


def rename_keys(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Replaces keys that older files have by today's; a key of both names stays, and is refused as unknown.

    Args:
        values: a table. names: an old key's place to the new key: {"initial.trained": "trainable"}.
    """
    renamed = dict(values)
    for place, new in names.items():
        table, dot, old = place.rpartition(".")
        target = renamed.get(table) if dot else renamed
        if isinstance(target, Mapping) and old in target and new not in target:
            moved = {new if key == old else key: value for key, value in target.items()}
            if dot:
                renamed[table] = moved
            else:
                renamed = moved
    return renamed
