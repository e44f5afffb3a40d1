"""Writes operators.toml as C++ constants, so that names and ranges have one source.

    python describe_operators.py operators.toml > operators.h

The types are in description.h. Needs Python's standard library only: CMake runs it at build time.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Attribute types of operators.toml, and whether their values are floating-point numbers.
KINDS = {"int": False, "ints": False, "float": True, "floats": True}


def header(described: Mapping[str, Any]) -> str:
    """The text of the header.

    Raises:
        KeyError, ValueError: operators.toml describes something that description.h has no words for.
    """
    domain = described["plugin_namespace"]
    lines = [
        "// Made from plugins/operators.toml by plugins/tensorrt/describe_operators.py; not to be edited.",
        "#pragma once",
        "",
        '#include "tensorrt/description.h"',
        "",
        "namespace adroit::description {",
        "",
    ]
    for name, operator in described["operators"].items():
        lines += _operator(name, operator, domain)
    listed = "".join(f"{name} {operator['version']} {domain}\\n" for name, operator in described["operators"].items())
    return "\n".join([*lines, "}  // namespace adroit::description", "", f'#define ADROIT_OPERATORS "{listed}"', ""])


def _operator(name: str, operator: Mapping[str, Any], domain: str) -> list[str]:
    attributes = [_attribute(key, value) for key, value in operator["attributes"].items()]
    array = f"k{name}Attributes"
    lines = [f"inline constexpr Attribute {array}[] = {{{', '.join(attributes)}}};"] if attributes else []
    return [
        *lines,
        f"inline constexpr Tensor k{name}Inputs[] = {{{_tensors(operator['inputs'])}}};",
        f"inline constexpr Tensor k{name}Outputs[] = {{{_tensors(operator['outputs'])}}};",
        f'inline constexpr Operator k{name}{{"{name}", "{operator["version"]}", "{domain}", '
        f"{array if attributes else '{}'}, k{name}Inputs, k{name}Outputs}};",
        "",
    ]


def _tensors(values: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f'{{"{value["name"]}", {len(value["shape"])}}}' for value in values)


def _attribute(name: str, attribute: Mapping[str, Any]) -> str:
    floating, values = KINDS[attribute["type"]], attribute.get("values", [])
    if len(values) > 4:
        raise ValueError(f"attribute {name} has {len(values)} allowed values; description.h has room for 4")
    allowed = ", ".join(str(value) for value in values)
    return (
        f'{{"{name}", {str(floating).lower()}, {attribute.get("length", 1)}, '
        f"{attribute['minimum']}, {attribute['maximum']}, {{{allowed}}}, {len(values)}}}"
    )


if __name__ == "__main__":
    print(header(tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
