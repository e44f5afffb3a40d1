"""Reads the description of each operator from plugins/operators.toml, and its portable body."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, Literal

from adroit.errors import EnvironmentFault

if TYPE_CHECKING:
    import onnx

DOMAIN = "adroit"


@dataclass(frozen=True)
class Value:
    """An input or output: its name, the symbols of its dimensions, and its type where it is not the operator's.

    `type_from` names the attribute that holds an output's type, as ONNX's number (TensorProto.DataType).
    """

    name: str
    shape: tuple[str, ...]
    type: str | None = None
    type_from: str | None = None


@dataclass(frozen=True)
class Attribute:
    """An attribute: "int", "float" (float32) or "ints" (then of `length` values), each within [minimum, maximum].

    Where `values` is not empty, only those are allowed.
    """

    name: str
    type: Literal["int", "ints", "float"]
    minimum: float
    maximum: float
    length: int = 1
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class Operator:
    """One operator of the domain `adroit`, as operators.toml describes it.

    `half` names the inputs and outputs that are float16 in a network of half precision.
    """

    name: str
    version: int
    summary: str
    source: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    types: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    half: tuple[str, ...] = ()


def plugin_files() -> Traversable:
    """The folder that the build installs: operators.toml, portable/, and the native libraries."""
    folder = resources.files("adroit") / "native"
    if not (folder / "operators.toml").is_file():
        raise EnvironmentFault(
            "adroit is not installed: adroit/native/operators.toml is missing",
            hint="run `pip install .` in the repository",
        )
    return folder


@functools.cache
def operators() -> Mapping[str, Operator]:
    """All operators of deployments by name."""
    return _described("operators")


@functools.cache
def session_operators() -> Mapping[str, Operator]:
    """Operators that no deployment holds: a session on the CPU puts them in the place of standard ones."""
    return _described("session_operators")


def _described(table: str) -> Mapping[str, Operator]:
    described = tomllib.loads((plugin_files() / "operators.toml").read_text(encoding="utf-8"))
    return {name: _operator(name, entry) for name, entry in described[table].items()}


def _operator(name: str, entry: Mapping[str, Any]) -> Operator:
    def values(key: str) -> tuple[Value, ...]:
        return tuple(Value(**{**v, "shape": tuple(v["shape"])}) for v in entry[key])

    attributes = {
        key: Attribute(key, **{**value, "values": tuple(value.get("values", ()))})
        for key, value in entry.get("attributes", {}).items()
    }
    return Operator(
        name,
        entry["version"],
        entry["summary"],
        entry["source"],
        values("inputs"),
        values("outputs"),
        tuple(entry["types"]),
        attributes,
        tuple(entry.get("half", ())),
    )


@functools.cache
def portable_body(name: str) -> onnx.FunctionProto:
    """The operator as an ONNX function of standard operators (plugins/portable/<name>.onnx.txt)."""
    import onnx.parser

    return onnx.parser.parse_function((plugin_files() / "portable" / f"{name}.onnx.txt").read_text(encoding="utf-8"))
