"""The cases of QAdderConv2d and QAdderConv2dAdd, and their reference, for every runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.native.tensorrt_host.node import Attributes, Node
from tests.operators import references
from tests.operators.cases.adder_conv2d import convolution_tensors, misfits

ONNX_NUMBERS = {"float32": 1, "uint8": 2, "int8": 3}


@dataclass(frozen=True)
class Case:
    """One row of the table: shapes in the order N C H W, M, kernel, strides, pads (top, left, bottom, right)."""

    name: str
    x: tuple[int, int, int, int]
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    relu: bool = False
    residual: bool = False
    type: str = "uint8"
    output: str = "quantized"
    values: str = "random"

    @property
    def operator(self) -> str:
        return "QAdderConv2dAdd" if self.residual else "QAdderConv2d"

    @property
    def symmetric(self) -> bool:
        """Whether the torch operator takes it: one stride and one padding."""
        return len(set(self.strides)) == len(set(self.pads)) == 1


ONE, TWO = (1, 1, 1, 1), (2, 2, 2, 2)


CASES = [
    Case("one pixel", (1, 1, 1, 1), 1, (1, 1)),
    Case("one by one kernel", (2, 8, 7, 9), 5, (1, 1)),
    Case("one by one, stride 2", (1, 16, 14, 14), 32, (1, 1), (2, 2)),
    Case("three by three", (2, 16, 8, 8), 16, (3, 3), pads=ONE, relu=True),
    Case("residual and relu", (2, 16, 8, 8), 16, (3, 3), pads=ONE, relu=True, residual=True),
    Case("residual, float output", (1, 3, 9, 5), 7, (3, 3), (2, 2), ONE, residual=True, output="float32"),
    Case("float output", (1, 5, 9, 50), 7, (3, 3), pads=ONE, output="float32", relu=True),
    Case("int8", (2, 9, 11, 33), 10, (3, 3), pads=ONE, type="int8"),
    Case("int8, stride 2, residual", (1, 9, 15, 17), 10, (3, 3), (2, 2), ONE, type="int8", residual=True),
    Case("int8, float output", (1, 9, 6, 7), 10, (1, 1), type="int8", output="float32"),
    Case("odd sizes, stride 2", (1, 3, 13, 7), 9, (3, 3), (2, 2), ONE),
    Case("stride beyond kernel", (1, 4, 17, 11), 6, (2, 2), (5, 5)),
    Case("stride beyond image", (1, 2, 5, 5), 3, (3, 3), (9, 9)),
    Case("strides and pads all different", (1, 10, 14, 37), 6, (3, 3), (3, 1), (0, 2, 3, 1)),
    Case("stride along rows only", (1, 10, 14, 37), 6, (3, 3), (1, 2), (2, 0, 1, 3)),
    Case("padding as wide as kernel", (1, 2, 4, 6), 3, (3, 3), pads=(3, 3, 3, 3)),
    Case("padding beyond kernel, stride 2", (1, 2, 3, 3), 5, (2, 2), (2, 2), (4, 4, 4, 4)),
    Case("one channel, five by five", (3, 1, 12, 12), 6, (5, 5)),
    Case("four wide", (1, 6, 9, 21), 5, (2, 4), pads=TWO),
    Case("seven by seven, stride 2", (1, 3, 21, 23), 8, (7, 7), (2, 2), (3, 3, 3, 3)),
    Case("flat kernel", (1, 4, 6, 10), 5, (1, 3)),
    Case("tall kernel", (1, 4, 10, 6), 5, (7, 1), pads=ONE),
    Case("more filters than a task", (1, 8, 6, 6), 131, (3, 3), pads=ONE),
    Case("more channels than 16-bit counts hold", (1, 301, 5, 6), 9, (3, 3), pads=ONE),
    Case("wider than a tile", (1, 2, 3, 600), 3, (3, 3), pads=ONE, residual=True),
    Case("wider than a tile, stride 2", (1, 9, 5, 1100), 3, (3, 3), (2, 2), ONE),
    Case("more rows than a tile", (1, 3, 70, 41), 4, (3, 3), pads=ONE),
    Case("differences all 255", (1, 130, 4, 12), 5, (3, 3), pads=ONE, values="farthest"),
    Case("differences all 255, one by one", (1, 530, 4, 12), 5, (1, 1), values="farthest"),
    Case("differences all 0", (1, 30, 4, 12), 5, (3, 3), pads=ONE, values="equal"),
    Case("all 255, int8", (1, 130, 4, 12), 5, (3, 3), pads=ONE, values="farthest", type="int8"),
]


def make_inputs(case: Case) -> dict[str, np.ndarray]:
    random = np.random.default_rng(len(case.name) * 1000 + case.filters)
    low, high = np.iinfo(case.type).min, np.iinfo(case.type).max

    def integers(*shape: int) -> np.ndarray:
        return random.integers(low, high, shape, case.type, endpoint=True)

    x, w = integers(*case.x), integers(case.filters, case.x[1], *case.kernel)
    if case.values != "random":
        x[:], w[:] = high, low if case.values == "farthest" else high
    # Sums as those of a batch norm: about as many steps of the output as 8 bits hold, and some beyond.
    spread = 85.0 * w[0].size ** 0.5
    inputs = {
        "X": x,
        "W": w,
        "scale": (random.normal(size=case.filters) / spread).astype(np.float32),
        "shift": random.normal(size=case.filters).astype(np.float32),
    }
    sums = exact_sum(inputs, case)
    inputs["shift"] += inputs["scale"] * sums.mean((0, 2, 3)).astype(np.float32)
    if case.residual:
        inputs["residual"] = integers(*sums.shape)
    return inputs


def attributes(case: Case) -> dict[str, Any]:
    signed = case.type == "int8"
    found: dict[str, Any] = {
        "strides": list(case.strides),
        "pads": list(case.pads),
        "activation": int(case.relu),
        "x_zero_point": -101 if signed else 27,
        "output_type": ONNX_NUMBERS[case.output if case.output == "float32" else case.type],
        "output_scale": float(np.float32(0.0173)),
        "output_zero_point": -3 if signed else 130,
    }
    if case.residual:
        found |= {"residual_scale": float(np.float32(0.0311)), "residual_zero_point": -7 if signed else 99}
    return found


def exact_sum(inputs: dict[str, np.ndarray], case: Case) -> np.ndarray:
    """S in int64, by the definition."""
    zero_point = attributes(replace(case, residual=False))["x_zero_point"]
    x, w = (inputs[name].astype(np.float64) for name in ("X", "W"))
    return references.distances(x, w, case.strides, case.pads, zero_point).astype(np.int64)


def tensorrt_node(name: str, output_type: int, strides: list[int], pads: list[int], **more: int) -> Node:
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
    inputs, y = convolution_tensors("int8", strides, pads, (3, 3))

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
        misfits(residual) + ([] if residual else ["1x65794x1x1 1x65794x1x1 1 1"]),
        refused=[
            "int32 output_type 2",  # uint8
            "int32 x_zero_point 128",
            "int32 output_zero_point 128",
            *(["int32 residual_zero_point 128"] if residual else []),
        ],
    )


def tensorrt_nodes() -> list[Node]:
    """The nodes that the plugin host tries."""
    return [
        tensorrt_node("quantized to int8", 3, [1, 2], [1, 1, 0, 2]),
        tensorrt_node("quantized to float32 relu", 1, [2, 1], [1, 1, 1, 1], activation=1),
        tensorrt_node("quantized-add to int8 relu", 3, [1, 1], [1, 1, 1, 1], residual=1, activation=1),
        tensorrt_node("quantized-add to float32", 1, [2, 2], [0, 0, 1, 1], residual=1),
    ]
