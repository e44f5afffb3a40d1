"""Writes the case files of the plugin host (case.h says how they read) from operators.toml.

Field names, ranges and tensors come from operators.toml; nodes, shapes and references from tests/operators/cases, so
that nothing is compared with itself.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.operators.definitions import DOMAIN, Attribute, operators
from tests.native.tensorrt_host.node import Node, Tensors
from tests.operators import cases

NUMPY_TYPES = {"float32": np.float32, "float16": np.float16, "int8": np.int8, "int32": np.int32}
# Rounding of the result, and of float32 arithmetic in another order.
TOLERANCES = {"float32": 1e-5, "float16": 1e-3, "int8": 0.0}


def nodes() -> list[Node]:
    """The nodes of every file in tests/operators/cases that has some."""
    modules = (import_module(f"{cases.__name__}.{m.name}") for m in pkgutil.iter_modules(cases.__path__))
    return [node for module in modules if hasattr(module, "tensorrt_nodes") for node in module.tensorrt_nodes()]


def write_cases(folder: Path) -> Path:
    """The case file of all nodes, with their data beside it."""
    text = "\n".join(_text(node, folder / str(i)) for i, node in enumerate(nodes()))
    path = folder / "cases.txt"
    path.write_text(text)
    return path


def _text(node: Node, folder: Path) -> str:
    described = operators()[node.operator]
    assert list(node.attributes) == list(described.attributes)
    lines = [f"case {node.name.replace(' ', '_')}", f"plugin {node.operator} {described.version} {DOMAIN}", "exact"]
    lines.append(f"combinations {2 if described.half else 1}")  # float32 or float16; int8, or float32 alone
    for name, value in node.attributes.items():
        lines += _field(described.attributes[name], value)
    lines += [f"also {kind} plugin_version {described.version}" for kind in ("char", "chars")]
    lines += [f"also {kind} plugin_namespace {DOMAIN}" for kind in ("char", "chars")]
    lines += ["refused char plugin_version 7", "refused char plugin_namespace other", "refused int32 plugin_version 1"]
    lines.append("refused int32 dilations 1")  # no attribute of ours: passing over it would compute something else
    lines += [f"refused {wrong}" for wrong in node.refused]
    lines += _tensors("input", [v.name for v in described.inputs], node.inputs)
    lines += _tensors("output", [v.name for v in described.outputs], node.outputs)
    lines += [f"range {symbol} {first} {last}" for symbol, (first, last) in node.ranges.items()]
    lines += [f"divides {symbol} {by}" for symbol, by in node.divides.items()]
    lines += [f"misfit {shapes}" for shapes in node.misfits]
    for i, sizes in enumerate(node.runs):
        data = folder / str(i)
        write_data(node, sizes, data)
        values = " ".join(f"{symbol}={value}" for symbol, value in sizes.items())
        lines.append(f"run {data} {TOLERANCES[node.outputs[0][0]]} {values}")
    return "\n".join(lines) + "\n"


def _tensors(word: str, names: list[str], tensors: list[tuple[str, list[str]]]) -> list[str]:
    return [f"{word} {name} {kind} {' '.join(sizes)}" for name, (kind, sizes) in zip(names, tensors, strict=True)]


def _field(attribute: Attribute, value: int | list[int] | float) -> list[str]:
    """The field in its forms, right and wrong: int32, int64, the ends of its range and one step past them."""
    values = value if isinstance(value, list) else [value]
    written = f"{attribute.name} {' '.join(map(str, values))}"
    if attribute.type == "float":
        wrong = ["nan", "inf", "0", "-1", *(repr(2 * attribute.maximum) for _ in "1")]
        return [f"field float32 {written}", *(f"refused float32 {attribute.name} {w}" for w in wrong)]
    beyond = [attribute.minimum - 1, attribute.maximum + 1, 2**31 - 1, -(2**31)]
    between = [v for v in range(int(attribute.minimum), int(attribute.maximum)) if v not in attribute.values]
    wrong = [int(v) for v in beyond] + (between if attribute.values else [])
    forms = [f"field int32 {written}", f"same int64 {written}"]
    for w in wrong:
        forms.append(f"refused int32 {attribute.name} {' '.join([str(w)] * attribute.length)}")
    # 2^33 + 1 is 1 where someone takes the low half.
    forms.append(f"refused int64 {attribute.name} {' '.join([str(2**33 + 1)] * attribute.length)}")
    forms.append(f"refused float32 {written}")
    return forms


def write_data(node: Node, sizes: Mapping[str, int], folder: Path) -> None:
    """Inputs, and the outputs that the reference gives, as raw bytes in `folder`."""
    random = np.random.default_rng(0)
    names = [v.name for v in operators()[node.operator].inputs]
    tensors: Tensors = {}
    for name, (kind, formulas) in zip(names, node.inputs, strict=True):
        shape = [_value(formula, sizes) for formula in formulas]
        tensors[name] = _drawn(random, name, kind, shape)
    folder.mkdir(parents=True)
    for name, tensor in tensors.items():
        (folder / f"{name}.bin").write_bytes(tensor.tobytes())
    outputs = node.reference({name: tensor.astype(np.float64) for name, tensor in tensors.items()})
    described = operators()[node.operator].outputs
    # Numbers that would be the same without ReLU, thresholds or rounding prove nothing.
    assert len(np.unique(outputs[0])) > 3
    if len(tensors.get("threshold", [])) > 1:
        single = {**tensors, "threshold": np.full_like(tensors["threshold"], tensors["threshold"][0])}
        other = node.reference({name: tensor.astype(np.float64) for name, tensor in single.items()})
        assert np.any(other[0] != outputs[0])
    if node.attributes.get("activation") or node.operator == "RoutingGate":
        assert 0.1 < (outputs[0] <= outputs[0].min()).mean() < 0.9
    for value, (kind, formulas), output in zip(described, node.outputs, outputs, strict=True):
        assert list(output.shape) == [_value(formula, sizes) for formula in formulas]
        (folder / f"{value.name}.bin").write_bytes(output.astype(NUMPY_TYPES[kind]).tobytes())


def _drawn(random: np.random.Generator, name: str, kind: str, shape: list[int]) -> NDArray[np.generic]:
    if kind == "int8":
        return random.integers(-128, 128, shape).astype(np.int8)
    if name == "scale":  # powers of two: all that follows is exact in float32
        return np.exp2(random.integers(-8, -6, shape)).astype(np.float32)
    if name == "shift":
        return (random.integers(-40, 80, shape) / 4).astype(np.float32)
    if name == "threshold":
        return np.linspace(0.1, 0.9, shape[0], dtype=np.float32)
    if name == "gates":  # some 0, some too small to open a node
        gates = random.uniform(0, 1, shape) * np.where(random.random(shape) < 0.3, 2e-5, 1.0)
        return (gates * (random.random(shape) < 0.7)).astype(np.float32)
    if name == "belongs":  # path p is of node p modulo their number
        return np.eye(shape[1], dtype=np.float32)[np.arange(shape[0]) % shape[1]]
    if name in ("live", "reach", "shown"):
        return (random.random(shape) < (0.8 if name == "live" else 0.1)).astype(np.float32)
    spread = 0.3 if name in ("W2", "b2") else 1.0  # so that gates are not all 0 or nearly 1
    return (spread * random.standard_normal(shape)).astype(NUMPY_TYPES[kind])


def _value(formula: str, sizes: Mapping[str, int]) -> int:
    return int(eval(formula.replace("/", "//"), {}, dict(sizes)))  # formulas of ours
