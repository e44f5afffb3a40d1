"""Writes the case files of the plugin host (case.h says how they read) from operators.toml.

Field names, ranges and tensors come from operators.toml; shapes and numbers from formulas and loops of
their own (references.py), so that nothing is compared with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.operators.definitions import DOMAIN, Attribute, operators
from tests.native.tensorrt_host import references

Attributes = dict[str, int | list[int] | float]
Tensors = dict[str, NDArray[np.generic]]

NUMPY_TYPES = {"float32": np.float32, "float16": np.float16, "int8": np.int8, "int32": np.int32}
# Rounding of the result, and of float32 arithmetic in another order.
TOLERANCES = {"float32": 1e-5, "float16": 1e-3, "int8": 0.0}


@dataclass
class Node:
    """A node of one of our operators: its attributes, its tensors' types and sizes, and how to run it."""

    name: str
    operator: str
    attributes: Attributes
    inputs: list[tuple[str, list[str]]]  # type and sizes, in operators.toml's order
    outputs: list[tuple[str, list[str]]]
    ranges: dict[str, tuple[int, int]]
    reference: Callable[[Mapping[str, NDArray[np.float64]]], list[NDArray[np.float64]]]
    runs: list[dict[str, int]]
    misfits: list[str] = field(default_factory=list)
    divides: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def convolved(size: str, kernel: int, stride: int, pads: int) -> str:
    return f"({size}+{pads}-{kernel})/{stride}+1"


def adder(name: str, kind: str, strides: list[int], pads: list[int], kernel: tuple[int, int], **more: int) -> Node:
    """AdderConv2d or AdderConv2dAdd; kind is X's type."""
    residual = more.get("residual", 0)
    attributes: Attributes = {"strides": strides, "pads": pads, "activation": more.get("activation", 0)}
    inputs, y = _convolution(kind, strides, pads, kernel)

    def reference(tensors: Mapping[str, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        sums = references.distances(tensors["X"], tensors["W"], strides, pads, 0)
        value = references.per_channel(tensors["shift"]) - references.per_channel(tensors["scale"]) * sums
        value = value + tensors.get("residual", 0)
        return [np.maximum(value, 0) if attributes["activation"] else value]

    return Node(
        name,
        "AdderConv2dAdd" if residual else "AdderConv2d",
        attributes,
        inputs + [(kind, y)] * residual,
        [(kind, y)],
        {"N": (1, 4), "C": (1, 9), "M": (1, 9), "H": (5, 40), "W": (5, 40)},
        reference,
        [{"N": 2, "C": 3, "M": 5, "H": 7, "W": 9}],
        _misfits(residual),
    )


def quantized(name: str, output_type: int, strides: list[int], pads: list[int], **more: int) -> Node:
    """QAdderConv2d or QAdderConv2dAdd over int8; output_type as in operators.toml (1 float32, 3 int8)."""
    residual = more.get("residual", 0)
    attributes: Attributes = {
        "strides": strides,
        "pads": pads,
        "activation": more.get("activation", 0),
        "x_zero_point": -5,
        "output_type": output_type,
        "output_scale": 0.25,
        "output_zero_point": 7,
        **({"residual_scale": 0.5, "residual_zero_point": -3} if residual else {}),
    }
    inputs, y = _convolution("int8", strides, pads, (3, 3))

    def reference(tensors: Mapping[str, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        sums = references.distances(tensors["X"], tensors["W"], strides, pads, -5)
        value = references.per_channel(tensors["shift"]) - references.per_channel(tensors["scale"]) * sums
        if residual:
            value = value + 0.5 * (tensors["residual"] + 3)
        value = np.maximum(value, 0) if attributes["activation"] else value
        return [np.clip(np.round(value / 0.25) + 7, -128, 127) if output_type == 3 else value]

    return Node(
        name,
        "QAdderConv2dAdd" if residual else "QAdderConv2d",
        attributes,
        inputs + [("int8", y)] * residual,
        [("int8" if output_type == 3 else "float32", y)],
        {"N": (1, 4), "C": (1, 9), "M": (1, 9), "H": (5, 40), "W": (5, 40)},
        reference,
        [{"N": 2, "C": 3, "M": 5, "H": 7, "W": 9}],
        # The last has one tap too many for an exact sum.
        _misfits(residual) + ([] if residual else ["1x65794x1x1 1x65794x1x1 1 1"]),
        refused=[
            "int32 output_type 2",  # uint8
            "int32 x_zero_point 128",
            "int32 output_zero_point 128",
            *(["int32 residual_zero_point 128"] if residual else []),
        ],
    )


def _convolution(
    kind: str, strides: list[int], pads: list[int], kernel: tuple[int, int]
) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """The inputs up to `shift`, and Y's sizes."""
    y = ["N", "M", convolved("H", kernel[0], strides[0], pads[0] + pads[2])]
    y.append(convolved("W", kernel[1], strides[1], pads[1] + pads[3]))
    weights = ["M", "C", str(kernel[0]), str(kernel[1])]
    return [(kind, ["N", "C", "H", "W"]), (kind, weights), ("float32", ["M"]), ("float32", ["M"])], y


def _misfits(residual: int) -> list[str]:
    last = " 1x4x8x8" if residual else ""
    wrong = [
        "1x3x8x8 4x2x3x3 4 4",  # channels
        "1x3x8x8 4x3x3x3 3 4",  # scale
        "1x3x8x8 4x3x3x3 4 5",  # shift
        "1x3x1x8 4x3x30x3 4 4",  # a kernel larger than X
        "0x3x8x8 4x3x3x3 4 4",  # empty
        "1x3x8 4x3x3x3 4 4",  # rank
    ]
    return [shapes + last for shapes in wrong] + (["1x3x9x9 4x3x3x3 4 4 2x4x9x9"] if residual else [])


def filter_node(name: str, kind: str, kernel_size: int, stride: int, groups: int, joint: int) -> Node:
    """AdaptiveFilter."""
    attributes: Attributes = {"kernel_size": kernel_size, "stride": stride, "groups": groups, "joint_softmax": joint}
    sizes = [f"(H+{stride - 1})/{stride}", f"(W+{stride - 1})/{stride}"]
    logits = ["N", str(groups * kernel_size**2), *sizes]
    return Node(
        name,
        "AdaptiveFilter",
        attributes,
        [(kind, ["N", "C", "H", "W"]), (kind, logits)],
        [(kind, ["N", "C", *sizes])],
        {"N": (1, 4), "C": (groups, 6 * groups), "H": (8, 40), "W": (8, 40)},
        lambda t: [references.adaptive_filter(t["X"], t["logits"], kernel_size, stride, groups, joint)],
        [{"N": 2, "C": 3 * groups, "H": 9, "W": 10}],
        [
            f"1x{groups}x1x8 1x{logits[1]}x1x8",  # too small to reflect
            f"1x{groups}x8x8 1x1x8x8",  # logits
            *([f"1x{groups + 1}x8x8 1x{logits[1]}x8x8"] if groups > 1 else []),  # groups do not divide
        ],
        {"C": groups},
    )


def gate(name: str, kind: str, shrink: int, per_sample: bool) -> Node:
    """RoutingGate; `open` is int32 in TensorRT."""
    vectors = [["Hd", "C"], ["Hd"], ["P", "Hd"], ["P"], ["N" if per_sample else "1"]]
    types = [kind, "float32", "float32", "float32", "float32"]
    names = [v.name for v in operators()["RoutingGate"].inputs]
    return Node(
        name,
        "RoutingGate",
        {"shrink": shrink},
        [(kind, ["N", "C", "H", "W"]), *zip(types, vectors, strict=True)],
        [("float32", ["N", "P"]), ("int32", ["P"])],
        {"N": (2, 5), "C": (1, 9), "H": (4, 600), "W": (4, 600), "Hd": (1, 99), "P": (1, 4)},
        lambda t: list(references.routing_gate(*(t[n] for n in names), shrink)),
        [{"N": 3, "C": 6, "H": 9, "W": 13, "Hd": 5, "P": 4}],
        [
            "2x6x8x8 3x5 3 4x3 4 1",  # channels
            "2x6x8x8 3x6 3 4x2 4 1",  # hidden channels
            "2x6x8x8 3x6 2 4x3 4 1",  # b1
            "2x6x8x8 3x6 3 4x3 3 1",  # b2
            "2x6x8x8 3x6 3 4x3 4 3",  # threshold
            *(["2x6x3x8 3x6 3 4x3 4 1"] if shrink == 4 else []),  # too small to shrink
        ],
    )


def decision(name: str) -> Node:
    """RoutingDecision; `flags` is int32 in TensorRT."""
    sizes = [["N", "P"], ["N", "S"], ["P", "S"], ["P+3*S", "T"], ["P+3*S", "K"]]
    names = [v.name for v in operators()["RoutingDecision"].inputs]
    return Node(
        name,
        "RoutingDecision",
        {},
        [("float32", size) for size in sizes],
        [("float32", ["N", "P"]), ("float32", ["N", "S"]), ("float32", ["N", "T"]), ("int32", ["K"])],
        {"N": (1, 20), "P": (1, 12), "S": (1, 4), "T": (1, 5), "K": (1, 70)},
        lambda t: references.routing_decision(*(t[n] for n in names)),
        [{"N": 1, "P": 10, "S": 4, "T": 5, "K": 9}, {"N": 19, "P": 11, "S": 3, "T": 4, "K": 40}],
        [
            "3x8 2x2 8x2 14x4 14x9",  # live: samples
            "3x8 3x2 7x2 14x4 14x9",  # belongs: paths
            "3x8 3x2 8x3 14x4 14x9",  # belongs: nodes
            "3x8 3x2 8x2 13x4 14x9",  # reach
            "3x8 3x2 8x2 14x4 15x9",  # shown
            "3x8 3x2 8x2 14x4 14x0",  # empty
        ],
    )


def nodes() -> list[Node]:
    """Every operator, type and form."""
    return [
        adder("adder float32 3x3", "float32", [1, 1], [1, 1, 1, 1], (3, 3)),
        adder("adder float16 uneven relu", "float16", [2, 3], [0, 1, 2, 3], (2, 5), activation=1),
        adder("adder-add float32 strides 2", "float32", [2, 2], [1, 1, 1, 1], (3, 3), residual=1, activation=1),
        adder("adder-add float16", "float16", [1, 2], [1, 0, 1, 0], (3, 1), residual=1),
        quantized("quantized to int8", 3, [1, 2], [1, 1, 0, 2]),
        quantized("quantized to float32 relu", 1, [2, 1], [1, 1, 1, 1], activation=1),
        quantized("quantized-add to int8 relu", 3, [1, 1], [1, 1, 1, 1], residual=1, activation=1),
        quantized("quantized-add to float32", 1, [2, 2], [0, 0, 1, 1], residual=1),
        filter_node("filter float32 3x3", "float32", 3, 1, 2, 1),
        filter_node("filter float16 5x5 strides 2", "float16", 5, 2, 3, 0),
        filter_node("filter float32 7x7 strides 2", "float32", 7, 2, 1, 0),
        gate("gate float32", "float32", 1, False),
        gate("gate float16 small", "float16", 4, False),
        gate("gate float32 thresholds", "float32", 4, True),
        decision("decision"),
    ]


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
