"""The cases of AdaptiveFilter, and its reference, for every runtime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adroit.deploy.parity.tolerance import rounding_limit, softmax_limit
from tests.native.tensorrt_host.node import Attributes, Node
from tests.operators import references
from tests.operators.cases.noise import noise


@dataclass(frozen=True)
class Case:
    """One row of the table: X in the order N C H W, then the attributes; logits are normal times `spread`."""

    name: str
    x: tuple[int, int, int, int]
    kernel_size: int = 3
    stride: int = 1
    groups: int = 1
    joint: bool = True
    spread: float = 3.0

    @property
    def kept(self) -> tuple[int, int]:
        return -(-self.x[2] // self.stride), -(-self.x[3] // self.stride)

    @property
    def taps(self) -> int:
        return self.kernel_size**2


CASES = [
    Case("smallest map", (1, 1, 2, 2)),
    Case("smallest map, stride 2", (1, 2, 2, 2), stride=2, groups=2),
    Case("smallest map of five, stride 2", (1, 1, 3, 3), 5, 2),
    Case("smallest map of seven", (2, 3, 4, 4), 7),
    Case("smallest map of seven, stride 2", (1, 3, 4, 5), 7, 2, 3),
    Case("one column kept", (1, 4, 9, 2), stride=2, groups=2),
    Case("one row kept", (1, 4, 2, 35), stride=2, groups=2),
    Case("joint softmax of 8 groups", (2, 16, 13, 11), groups=8),
    Case("softmax per group", (2, 16, 13, 11), groups=8, joint=False),
    Case("softmax per group, stride 2", (1, 24, 14, 15), stride=2, groups=3, joint=False),
    Case("a group for each channel", (1, 7, 9, 17), stride=2, groups=7),
    Case("one group, 15 channels", (1, 15, 10, 19)),
    Case("five by five", (1, 10, 18, 23), 5, 1, 2),
    Case("five by five, stride 2, per group", (1, 10, 18, 23), 5, 2, 2, joint=False),
    Case("seven by seven, stride 2", (1, 12, 21, 40), 7, 2, 4),
    Case("row of a vector", (1, 8, 5, 16), groups=2),
    Case("row of a vector and a pixel", (1, 8, 5, 17), groups=2),
    Case("row of a vector and a pixel, stride 2", (1, 8, 5, 33), stride=2, groups=2),
    Case("row of a tile and a pixel", (1, 3, 5, 129), groups=3),
    Case("wide rows, stride 2", (1, 3, 9, 517), stride=2, groups=1),
    Case("wide rows of seven", (1, 2, 8, 389), 7, 2, 2),
    Case("tall and narrow", (1, 2, 700, 3), groups=2),
    Case("several tiles", (1, 16, 56, 56), groups=8),
    Case("several tiles, stride 2", (2, 16, 56, 56), stride=2, groups=8),
    Case("joint softmax of too many channels to hold", (1, 16, 30, 31), 5, 1, 16),
    Case("joint softmax of too many channels to hold, stride 2", (2, 18, 33, 260), 7, 2, 9),
    Case("steep softmax", (1, 8, 12, 12), groups=4, spread=40.0),
    Case("flat softmax", (1, 8, 12, 12), groups=4, spread=0.0),
    Case("steep softmax per group, stride 2", (1, 8, 12, 12), 5, 2, 4, joint=False, spread=40.0),
]


def make_inputs(case: Case) -> dict[str, np.ndarray]:
    random = np.random.default_rng(len(case.name) * 1000 + case.x[3])
    logits = random.normal(size=(case.x[0], case.groups * case.taps, *case.kept)) * case.spread
    return {"X": random.normal(size=case.x).astype(np.float32), "logits": logits.astype(np.float32)}


def exact_and_limit(inputs: dict[str, np.ndarray], case: Case, kind: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    """Y in float64 by the definition, and how far arithmetic in `kind` may be from it."""
    x, logits = (inputs[name].astype(np.float64) for name in ("X", "logits"))
    weights = references.softmax_weights(logits, case.kernel_size, case.groups, case.joint)
    y, magnitude = (references.filtered(values, weights, case.stride) for values in (x, np.abs(x)))
    grouped = logits.reshape(weights.shape)
    of_weights = softmax_limit(grouped, (1, 2) if case.joint else (2,), kind)
    limit = rounding_limit(y, magnitude, case.taps, kind, kind)
    return y, limit + references.filtered(np.abs(x), of_weights, case.stride)


@dataclass(frozen=True)
class DeviceCase:
    batch: int
    channels: int
    height: int
    width: int
    kernel_size: int
    stride: int
    groups: int
    joint: bool

    def inputs(self, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
        """X and logits."""
        rows, columns = (-(-size // self.stride) for size in (self.height, self.width))
        x = noise(0, (self.batch, self.channels, self.height, self.width), dtype, device)
        return x, noise(1, (self.batch, self.groups * self.kernel_size**2, rows, columns), dtype, device, 3.0)


def device_reference(case: DeviceCase, x: Tensor, logits: Tensor) -> references.Reference:
    """Y as x's type stores it."""
    inputs = {name: tensor.double().cpu().numpy() for name, tensor in (("X", x), ("logits", logits))}
    row = Case("", x.shape, case.kernel_size, case.stride, case.groups, case.joint)
    y, limit = exact_and_limit(inputs, row)
    return references.Reference(y, limit + references.stored_limit(y, str(x.dtype)[6:]) + 1e-30)


DEVICE_CASES = [
    DeviceCase(1, 64, 56, 56, 3, 1, 8, True),
    DeviceCase(2, 64, 56, 57, 3, 2, 8, True),
    DeviceCase(1, 512, 14, 14, 3, 2, 8, True),
    DeviceCase(2, 24, 9, 31, 3, 1, 24, True),
    DeviceCase(1, 20, 33, 17, 5, 1, 1, False),
    DeviceCase(3, 6, 8, 11, 7, 2, 2, False),
    DeviceCase(1, 9, 2, 2, 3, 1, 3, True),
]


def tensorrt_node(name: str, kind: str, kernel_size: int, stride: int, groups: int, joint: int) -> Node:
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


def tensorrt_nodes() -> list[Node]:
    """The nodes that the plugin host tries."""
    return [
        tensorrt_node("filter float32 3x3", "float32", 3, 1, 2, 1),
        tensorrt_node("filter float16 5x5 strides 2", "float16", 5, 2, 3, 0),
        tensorrt_node("filter float32 7x7 strides 2", "float32", 7, 2, 1, 0),
    ]
