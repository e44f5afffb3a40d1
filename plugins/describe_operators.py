"""Writes C++ headers from operators.toml, so that names, ranges and lists of operators have one source.

    python describe_operators.py operators.toml FOLDER

writes into FOLDER

    operators.h               each operator as constants, whose types are in description.h
    onnxruntime_operators.h   the adapters of ONNX Runtime, and functions that register all of them
    tensorrt_operators.h      the adapters of TensorRT, and a function that lists their creators

Needs Python's standard library only: CMake runs it at build time.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Attribute types of operators.toml, and whether their values are floating-point numbers.
KINDS = {"int": False, "ints": False, "float": True, "floats": True}


def description(described: Mapping[str, Any]) -> str:
    """The text of operators.h.

    Raises:
        KeyError, ValueError: operators.toml describes something that description.h has no words for.
    """
    domain = described["plugin_namespace"]
    lines = ["namespace adroit::description {", ""]
    for name, operator in {**described["operators"], **described["session_operators"]}.items():
        lines += _operator(name, operator, domain)
    listed = "".join(f"{name} {operator['version']} {domain}\\n" for name, operator in described["operators"].items())
    lines += ["}  // namespace adroit::description", "", f'#define ADROIT_OPERATORS "{listed}"', ""]
    return _header(["description.h"], lines)


def onnxruntime_adapters(described: Mapping[str, Any]) -> str:
    """The text of onnxruntime_operators.h.

    An operator has kernels for CUDA where it has a file in onnxruntime/cuda.
    """
    files = _files(described["operators"], described["session_operators"])
    lines = ["#ifdef ADROIT_WITH_CUDA"]
    for file in files:
        header = f'"onnxruntime/cuda/{file}.h"'
        lines += [f"#if __has_include({header})", f"#include {header}", f"#define ADROIT_CUDA_{file}", "#endif"]
    lines += ["#endif", "", "namespace adroit::onnxruntime {", ""]
    lines += ["inline void add_cpu_operators(Ort::CustomOpDomain& domain) {"]
    lines += [f"    add_{file}(domain);" for file in files]
    lines += ["}", "", "#ifdef ADROIT_WITH_CUDA", "template <template <typename> class On>"]
    lines += ["void add_cuda_operators(Ort::CustomOpDomain& domain) {"]
    for file in files:
        lines += [f"#ifdef ADROIT_CUDA_{file}", f"    add_cuda_{file}<On>(domain);", "#endif"]
    lines += ["}", "#endif", "", "}  // namespace adroit::onnxruntime", ""]
    return _header([f"onnxruntime/{file}.h" for file in files], lines)


def tensorrt_adapters(described: Mapping[str, Any]) -> str:
    """The text of tensorrt_operators.h."""
    files = _files(described["operators"])
    lines = ["namespace adroit::tensorrt {", "", "inline void add_creators(Creators& creators) {"]
    lines += [f"    add_{file}(creators);" for file in files]
    lines += ["}", "", "}  // namespace adroit::tensorrt", ""]
    return _header([f"tensorrt/{file}.h" for file in files], lines)


def _header(includes: Sequence[str], lines: Sequence[str]) -> str:
    head = [
        "// Made from plugins/operators.toml by plugins/describe_operators.py; not to be edited.",
        "#pragma once",
        "",
    ]
    return "\n".join([*head, *(f'#include "{path}"' for path in includes), "", *lines])


def _files(*tables: Mapping[str, Any]) -> list[str]:
    """The name that the files of each operator have in every folder; several operators may share one."""
    return sorted({operator["file"] for table in tables for operator in table.values()})


def _operator(name: str, operator: Mapping[str, Any], domain: str) -> list[str]:
    attributes = [_attribute(key, value) for key, value in operator.get("attributes", {}).items()]
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
    toml, folder = Path(sys.argv[1]), Path(sys.argv[2])
    read = tomllib.loads(toml.read_text(encoding="utf-8"))
    for name, text in (
        ("operators.h", description(read)),
        ("onnxruntime_operators.h", onnxruntime_adapters(read)),
        ("tensorrt_operators.h", tensorrt_adapters(read)),
    ):
        (folder / name).write_text(text, encoding="utf-8")
