"""The cases of AdderConv2d and AdderConv2dAdd, and their reference, for every runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adroit.deploy.parity.tolerance import rounding_limit
from tests.native.tensorrt_host.node import Attributes, Node, convolved
from tests.operators import references
from tests.operators.cases.noise import noise


@dataclass(frozen=True)
class Case:
    """One row of the table: shapes in the order N C H W, M, kernel, stride, padding."""

    name: str
    x: tuple[int, int, int, int]
    filters: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    relu: bool = False
    residual: bool = False


CASES = [
    Case("one pixel", (1, 1, 1, 1), 1, (1, 1)),
    Case("one by one kernel", (2, 8, 7, 9), 5, (1, 1)),
    Case("one by one, stride 2", (1, 16, 14, 14), 32, (1, 1), 2),
    Case("three by three", (2, 16, 8, 8), 16, (3, 3), 1, 1, relu=True),
    Case("residual and relu", (2, 16, 8, 8), 16, (3, 3), 1, 1, relu=True, residual=True),
    Case("residual without relu", (1, 3, 9, 5), 7, (3, 3), 2, 1, residual=True),
    Case("odd sizes, stride 2", (1, 3, 13, 7), 9, (3, 3), 2, 1),
    Case("stride beyond kernel", (1, 4, 17, 11), 6, (2, 2), 5, 0),
    Case("stride beyond image", (1, 2, 5, 5), 3, (3, 3), 9, 0),
    Case("padding as wide as kernel", (1, 2, 4, 6), 3, (3, 3), 1, 3),
    Case("padding beyond kernel, stride 2", (1, 2, 3, 3), 5, (2, 2), 2, 4),
    Case("one channel, five by five", (3, 1, 12, 12), 6, (5, 5)),
    Case("seven by seven, stride 2", (1, 3, 21, 23), 8, (7, 7), 2, 3),
    Case("flat kernel", (1, 4, 6, 10), 5, (1, 3)),
    Case("more filters than a tile", (1, 8, 6, 6), 131, (3, 3), 1, 1),
    Case("more taps than a pass", (1, 67, 7, 7), 20, (3, 3), 1, 1),
    Case("many pixels", (1, 3, 40, 41), 4, (3, 3), 1, 1),
    Case("rows beyond a tile", (1, 2, 4, 1100), 3, (3, 3), 1, 1),
    Case("rows beyond a tile, stride 2", (1, 2, 5, 2301), 3, (3, 3), 2, 1),
]


def make_inputs(case: Case, spread: float = 1.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(len(case.name) * 1000 + case.filters)
    x = random.normal(size=case.x).astype(np.float32) * np.float32(spread)
    inputs = {
        "X": x,
        "W": (random.normal(size=(case.filters, case.x[1], *case.kernel)) * 5 * spread).astype(np.float32),
        "scale": random.normal(size=case.filters).astype(np.float32),
        "shift": (random.normal(size=case.filters) * 10).astype(np.float32),
    }
    if case.residual:
        inputs["residual"] = random.normal(size=exact_sum(inputs, case).shape).astype(np.float32)
    return inputs


def exact_sum(inputs: dict[str, np.ndarray], case: Case) -> np.ndarray:
    """The plain sum of absolute differences in float64, by the definition."""
    x, w = (inputs[name].astype(np.float64) for name in ("X", "W"))
    return references.distances(x, w, [case.stride] * 2, [case.padding] * 4, 0.0)


def exact_and_limit(inputs: dict[str, np.ndarray], case: Case) -> tuple[np.ndarray, np.ndarray]:
    total = exact_sum(inputs, case)
    scale, shift = (inputs[k].astype(np.float64)[None, :, None, None] for k in ("scale", "shift"))
    y = shift - scale * total
    magnitude = np.abs(shift) + np.abs(scale) * total
    if case.residual:
        y = y + inputs["residual"]
        magnitude = magnitude + np.abs(inputs["residual"])
    y = np.maximum(y, 0.0) if case.relu else y
    return y, rounding_limit(y, magnitude, inputs["W"][0].size)


def attributes(case: Case) -> dict[str, object]:
    return {"strides": [case.stride] * 2, "pads": [case.padding] * 4, "activation": int(case.relu)}


@dataclass(frozen=True)
class DeviceInputs:
    """Tensors of one case of the adder convolution."""

    case: DeviceCase
    x: Tensor
    w: Tensor
    scale: Tensor
    shift: Tensor
    residual: Tensor | None

    def reference(self) -> references.Reference:
        """Y as x's type stores it."""
        names = {"X": self.x, "W": self.w, "scale": self.scale, "shift": self.shift, "residual": self.residual}
        inputs = {name: tensor.double().cpu().numpy() for name, tensor in names.items() if tensor is not None}
        c = self.case
        row = Case("", self.x.shape, c.filters, (c.kernel,) * 2, c.stride, c.padding, c.relu, c.residual)
        y, limit = exact_and_limit(inputs, row)
        return references.Reference(y, limit + references.stored_limit(y, str(self.x.dtype)[6:]) + 1e-30)


@dataclass(frozen=True)
class DeviceCase:
    batch: int
    channels: int
    height: int
    width: int
    filters: int
    kernel: int
    stride: int
    padding: int
    residual: bool = False
    relu: bool = False

    @property
    def output(self) -> tuple[int, int, int, int]:
        rows, columns = (
            (size + 2 * self.padding - self.kernel) // self.stride + 1 for size in (self.height, self.width)
        )
        return self.batch, self.filters, rows, columns

    @property
    def taps(self) -> int:
        """Absolute differences of the whole batch."""
        return prod(self.output) * self.channels * self.kernel**2

    def inputs(self, dtype: torch.dtype, device: str) -> DeviceInputs:
        scale, shift = (noise(i, (self.filters,), torch.float32, device) for i in (2, 3))
        return DeviceInputs(
            self,
            noise(0, (self.batch, self.channels, self.height, self.width), dtype, device),
            noise(1, (self.filters, self.channels, self.kernel, self.kernel), dtype, device, 3.0),
            0.1 * scale,
            10.0 * shift,
            noise(4, self.output, dtype, device) if self.residual else None,
        )

    def bytes_of(self, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """X and W of an 8-bit type, scale and shift of float32."""
        generator = torch.Generator().manual_seed(5)
        low = -128 if dtype == torch.int8 else 0
        shapes = [
            (self.batch, self.channels, self.height, self.width),
            (self.filters, self.channels, *[self.kernel] * 2),
        ]
        x, w = (torch.randint(low, low + 256, s, generator=generator).to(device, dtype) for s in shapes)
        scale, shift = (noise(i, (self.filters,), torch.float32, device) for i in (2, 3))
        return x, w, 0.01 * scale, 10.0 * shift


def bytes_reference(
    x: Tensor, w: Tensor, scale: Tensor, shift: Tensor, stride: int, padding: int, zero_point: int
) -> references.Reference:
    """The 8-bit adder convolution with a float32 output: every bit is defined (plugins/operators.toml)."""
    integers = (t.cpu().numpy().astype(np.float64) for t in (x, w))
    total = references.distances(*integers, [stride] * 2, [padding] * 4, float(zero_point)).astype(np.float32)
    factor, offset = (references.per_channel(t.cpu().numpy()) for t in (scale, shift))
    value = (offset - factor * total).astype(np.float64)
    return references.Reference(value, np.full_like(value, 1e-30))


DEVICE_CASES = [
    DeviceCase(2, 16, 32, 32, 16, 3, 1, 1),
    DeviceCase(1, 64, 56, 56, 64, 3, 1, 1, residual=True, relu=True),
    DeviceCase(1, 512, 7, 7, 512, 3, 1, 1, residual=True),
    DeviceCase(3, 128, 28, 28, 130, 3, 1, 1, relu=True),
    DeviceCase(3, 17, 23, 19, 33, 5, 2, 2, residual=True, relu=True),
    DeviceCase(1, 3, 4, 4, 5, 7, 1, 2),
    DeviceCase(4, 64, 14, 15, 256, 1, 2, 0),
]


def tensorrt_node(
    name: str, kind: str, strides: list[int], pads: list[int], kernel: tuple[int, int], **more: int
) -> Node:
    """AdderConv2d or AdderConv2dAdd; kind is X's type."""
    residual = more.get("residual", 0)
    attributes: Attributes = {"strides": strides, "pads": pads, "activation": more.get("activation", 0)}
    inputs, y = convolution_tensors(kind, strides, pads, kernel)

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
        misfits(residual),
    )


def convolution_tensors(
    kind: str, strides: list[int], pads: list[int], kernel: tuple[int, int]
) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """The inputs up to `shift`, and Y's sizes."""
    y = ["N", "M", convolved("H", kernel[0], strides[0], pads[0] + pads[2])]
    y.append(convolved("W", kernel[1], strides[1], pads[1] + pads[3]))
    weights = ["M", "C", str(kernel[0]), str(kernel[1])]
    return [(kind, ["N", "C", "H", "W"]), (kind, weights), ("float32", ["M"]), ("float32", ["M"])], y


def misfits(residual: int) -> list[str]:
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


def tensorrt_nodes() -> list[Node]:
    """The nodes that the plugin host tries."""
    return [
        tensorrt_node("adder float32 3x3", "float32", [1, 1], [1, 1, 1, 1], (3, 3)),
        tensorrt_node("adder float16 uneven relu", "float16", [2, 3], [0, 1, 2, 3], (2, 5), activation=1),
        tensorrt_node("adder-add float32 strides 2", "float32", [2, 2], [1, 1, 1, 1], (3, 3), residual=1, activation=1),
        tensorrt_node("adder-add float16", "float16", [1, 2], [1, 0, 1, 0], (3, 1), residual=1),
    ]
