"""The cases of RoutingDecision, and its reference, for every runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adroit.deploy.operators.definitions import operators
from adroit.models.routing.route import CLOSED_BELOW
from tests.native.tensorrt_host.node import Node
from tests.operators import references


@dataclass(frozen=True)
class Case:
    """One row of the table: paths of each node, samples, columns of the two matrices."""

    name: str
    paths: tuple[int, ...]
    batch: int = 1
    reached: int = 4
    shown: int = 9


CASES = [
    Case("one node, one path", (1,), 1, 1, 1),
    Case("a whole layer", (2, 3, 3, 2)),
    Case("a layer of a batch", (2, 3, 3, 2), 7),
    Case("the first layer", (2, 3), 3, 3, 14),
]


def make_inputs(case: Case) -> dict[str, np.ndarray]:
    random = np.random.default_rng(len(case.name))
    nodes, paths = len(case.paths), sum(case.paths)
    gates = random.uniform(0, 1, (case.batch, paths)) * (random.random((case.batch, paths)) < 0.5)
    # Gates below the limit, alone and together: some nodes close although a gate is above 0.
    tiny = random.random(gates.shape) < 0.3
    gates[tiny] = random.uniform(0, 0.8 * CLOSED_BELOW, tiny.sum())
    owners = np.repeat(np.arange(nodes), case.paths)
    states = paths + 3 * nodes
    inputs = {
        "gates": gates,
        "live": random.random((case.batch, nodes)) < 0.7,
        "belongs": np.eye(nodes)[owners],
        "reach": random.random((states, case.reached)) < 0.15,
        "shown": random.random((states, case.shown)) < 0.15,
    }
    return {name: value.astype(np.float32) for name, value in inputs.items()}


def expected(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """counted, opened, reached, flags."""
    return references.routing_decision(*(value.astype(np.float64) for value in inputs.values()))


@dataclass(frozen=True)
class DeviceCase:
    batch: int
    paths: tuple[int, ...]  # of each node
    reached: int
    flags: int

    def inputs(self, device: str) -> list[Tensor]:
        """gates, live, belongs, reach, shown; gates are multiples of 2^-15, so that every sum of them is exact."""
        generator = torch.Generator().manual_seed(6)

        def draw(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator)

        nodes, paths = len(self.paths), sum(self.paths)
        most = torch.where(draw(self.batch, paths) < 0.5, 3.0, 2.0**15)  # below 1e-4, or any
        gates = (draw(self.batch, paths) * most).round() / 2**15 * (draw(self.batch, paths) < 0.6)
        live = (draw(self.batch, nodes) < 0.8).float()
        belongs = torch.eye(nodes)[torch.arange(nodes).repeat_interleave(torch.tensor(self.paths))]
        matrices = ((draw(paths + 3 * nodes, count) < 0.1).float() for count in (self.reached, self.flags))
        return [t.to(device).contiguous() for t in (gates, live, belongs, *matrices)]


def device_reference(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The outputs, on the inputs' device; exact where sums of gates are."""
    arrays = (tensor.double().cpu().numpy() for tensor in tensors)
    *floats, flags = (torch.from_numpy(output).to(tensors[0].device) for output in references.routing_decision(*arrays))
    return [*(output.float() for output in floats), flags.bool()]


DEVICE_CASES = [
    DeviceCase(1, (2, 3, 3, 2), 4, 37),
    DeviceCase(200, (2, 3, 3, 2), 4, 37),
    DeviceCase(1, (1,), 1, 1),
    DeviceCase(9, (1,) * 40, 33, 65),
]


def tensorrt_node(name: str) -> Node:
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


def tensorrt_nodes() -> list[Node]:
    """The nodes that the plugin host tries."""
    return [tensorrt_node("decision")]
