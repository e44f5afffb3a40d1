"""The cases of RoutingGate, and its reference, for every runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adroit.deploy.operators.definitions import operators
from adroit.deploy.parity.tolerance import SAFETY, UNIT_ROUNDOFF, rounding_limit
from tests.native.tensorrt_host.node import Node
from tests.operators import references
from tests.operators.cases.noise import noise

FLOAT32_INPUTS = ("X", "W1", "b1", "W2", "b2", "threshold")


@dataclass(frozen=True)
class Case:
    """One row of the table: shapes in the order N C H W, Hd, P."""

    name: str
    x: tuple[int, int, int, int]
    hidden: int
    paths: int
    shrink: int = 1
    threshold: tuple[float, ...] = (0.0,)


CASES = [
    Case("one pixel", (1, 2, 1, 1), 1, 1),
    Case("two paths", (2, 16, 8, 12), 8, 2),
    Case("odd sizes", (1, 6, 7, 11), 3, 3),
    Case("hidden channels beyond a block", (2, 10, 5, 5), 13, 3),
    Case("hidden channels beyond a tile", (1, 24, 6, 6), 131, 3),
    Case("channels beyond a pass", (1, 131, 9, 5), 20, 2),
    Case("many positions", (1, 4, 61, 67), 5, 3),
    Case("many parts", (1, 2, 97, 150), 3, 2),
    Case("small gate", (2, 16, 16, 24), 8, 3, 4),
    Case("small gate, one block", (1, 8, 4, 4), 4, 2, 4),
    Case("small gate, one row and column over", (2, 8, 17, 13), 4, 3, 4),
    Case("small gate, two over", (1, 8, 10, 22), 4, 3, 4),
    Case("small gate, three over", (1, 8, 7, 19), 4, 3, 4),
    Case("small gate, many positions", (1, 3, 130, 101), 5, 2, 4),
    Case("one threshold", (6, 12, 6, 6), 6, 3, 1, (0.4,)),
    Case("a threshold per sample", (4, 12, 8, 8), 6, 3, 4, (0.0, 0.3, 0.6, 0.99)),
    Case("a threshold below 0 counts as 0", (4, 12, 8, 8), 6, 3, 1, (-0.5,)),
]


def make_inputs(case: Case) -> dict[str, np.ndarray]:
    random = np.random.default_rng(len(case.name) * 1000 + case.hidden)
    inputs = {
        "X": random.normal(size=case.x),
        "W1": random.normal(size=(case.hidden, case.x[1])) * (2 / case.x[1]) ** 0.5,
        "b1": random.normal(size=case.hidden) * 0.3,
        "W2": random.normal(size=(case.paths, case.hidden)) * (2 / case.hidden) ** 0.5,
        "b2": np.zeros(case.paths),
        "threshold": np.array(case.threshold),
    }
    # Open and closed gates in every case, where tanh is neither linear nor flat.
    hidden = np.einsum("hc,ncp->nhp", inputs["W1"], seen_positions(inputs["X"], case.shrink))
    mean = np.maximum(hidden + inputs["b1"][:, None], 0.0).mean(2)
    inputs["b2"] = np.array([0.7, -0.5, 0.3])[: case.paths] - (mean @ inputs["W2"].T).mean(0)
    return {name: value.astype(np.float32) for name, value in inputs.items()}


def seen_positions(x: np.ndarray, shrink: int) -> np.ndarray:
    """X as the gate sees it, [N,C,positions] float64."""
    seen = references.seen_by_gate(x.astype(np.float64), shrink)
    return seen.reshape(*seen.shape[:2], -1)


def exact_value_and_limit(
    inputs: dict[str, np.ndarray], case: Case, kind: str = "float32"
) -> tuple[np.ndarray, np.ndarray]:
    """max(0, tanh(...)) before the threshold, and how far an implementation in `kind` may be from it.

    The first sum (shrink's 4 terms, C products and the bias) is off by at most the model's limit; the
    mean passes that error on, averaged, and adds its own; so does the second sum; tanh and the ReLUs
    never enlarge an error.
    """
    x, w1, b1, w2, b2 = (inputs[k].astype(np.float64) for k in FLOAT32_INPUTS[:5])
    seen, sizes = seen_positions(x, case.shrink), seen_positions(np.abs(x), case.shrink)
    unit = UNIT_ROUNDOFF[kind]
    linear = np.einsum("hc,ncp->nhp", w1, seen) + b1[:, None]
    magnitude = np.einsum("hc,ncp->nhp", np.abs(w1), sizes) + np.abs(b1)[:, None]
    terms = w1.shape[1] + 1 + (4 if case.shrink == 4 else 0)
    error = rounding_limit(linear, magnitude, terms, kind, kind)

    hidden = np.maximum(linear, 0.0)
    mean = hidden.mean(2)
    mean_error = error.mean(2) + rounding_limit(mean, mean, hidden.shape[2], kind, kind)
    logits = mean @ w2.T + b2
    logit_error = mean_error @ np.abs(w2).T
    logit_error += rounding_limit(logits, mean @ np.abs(w2).T + np.abs(b2), w2.shape[1] + 1, kind, kind)
    value = np.maximum(np.tanh(logits), 0.0)
    return value, logit_error + SAFETY * unit * value


@dataclass(frozen=True)
class DeviceCase:
    batch: int
    channels: int
    height: int
    width: int
    hidden: int
    paths: int
    shrink: int
    threshold_per_sample: bool

    def inputs(self, dtype: torch.dtype, device: str) -> tuple[tuple[Tensor, ...], Tensor]:
        """(X, W1, b1, W2, b2) and the threshold; X and W1 of `dtype`, the others float32."""
        x = noise(0, (self.batch, self.channels, self.height, self.width), dtype, device)
        w1 = noise(1, (self.hidden, self.channels), dtype, device, self.channels**-0.5)
        shapes = [(self.hidden,), (self.paths, self.hidden), (self.paths,)]
        rest = (noise(i, s, torch.float32, device, 0.3) for i, s in enumerate(shapes, 2))
        count = self.batch if self.threshold_per_sample else 1
        return (x, w1, *rest), noise(5, (count,), torch.float32, device, 0.3)


def device_reference(case: DeviceCase, tensors: Sequence[Tensor]) -> references.Reference:
    """The gate before its threshold. tensors: X, W1, b1, W2, b2."""
    arrays = (tensor.double().cpu().numpy() for tensor in tensors)
    inputs = dict(zip(FLOAT32_INPUTS, arrays, strict=False))
    row = Case("", inputs["X"].shape, case.hidden, case.paths, case.shrink)
    value, limit = exact_value_and_limit(inputs, row)
    return references.Reference(value, limit + 1e-30)


DEVICE_CASES = [
    DeviceCase(1, 64, 64, 128, 32, 3, 1, False),
    DeviceCase(4, 64, 32, 33, 32, 3, 4, True),
    DeviceCase(2, 256, 16, 31, 128, 3, 1, False),
    DeviceCase(3, 300, 7, 9, 150, 2, 1, True),
    DeviceCase(1, 2, 400, 380, 3, 1, 1, False),
    DeviceCase(2, 512, 8, 16, 256, 2, 4, False),
]


def tensorrt_node(name: str, kind: str, shrink: int, per_sample: bool) -> Node:
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


def tensorrt_nodes() -> list[Node]:
    """The nodes that the plugin host tries."""
    return [
        tensorrt_node("gate float32", "float32", 1, False),
        tensorrt_node("gate float16 small", "float16", 4, False),
        tensorrt_node("gate float32 thresholds", "float32", 4, True),
    ]
