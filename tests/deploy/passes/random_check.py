"""Checks exported random networks: every choice of passes gives what PyTorch gives in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adroit.deploy.export.graph import finish
from adroit.deploy.export.trace import trace
from adroit.deploy.passes.fusing import FUSING_PASSES
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from tests.deploy.passes.random_maker import CHANNELS, SIZE
from tests.deploy.passes.random_networks import random_network

# A correct result's distance from float64: a share of the values' spread, and a multiple of the distance that
# PyTorch's own float32 has, since a network may enlarge rounding (an adder's sum without a norm above all).
SHARE_OF_SPREAD, TIMES_FLOAT32 = 2e-5, 10.0
BATCHES = (1, 3)

Array = NDArray[np.float64]


def choices_of_passes() -> dict[str, Sequence[Callable[[ir.Graph], int]]]:
    """All passes, none, and all but each."""
    without = {f"without {p.__name__}": [q for q in FUSING_PASSES if q is not p] for p in FUSING_PASSES}
    return {"all": FUSING_PASSES, "none": (), **without}


class _SideBySide(nn.Module):
    """Several networks on one image: an export costs seconds, however small the network."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(value for network in self.networks for value in network(x))


def faults(seeds: Sequence[int]) -> Iterator[str]:
    """What is wrong with the networks of `seeds` once exported, a line for each choice of passes and output."""
    networks = [random_network(seed) for seed in seeds]
    whole = _SideBySide(networks).eval()
    names = [f"seed{s}_output{i}" for s, network in zip(seeds, networks, strict=True) for i in network.outputs]
    expected = [_expected(whole, batch, seeds[0]) for batch in BATCHES]
    example = torch.zeros(2, CHANNELS, *SIZE)
    traced = ir.serde.serialize_model(trace(whole, example, ["image"], names, {"x": {0: torch.export.Dim("batch")}}))
    for choice, passes in choices_of_passes().items():
        model = ir.serde.deserialize_model(traced)
        for fusing_pass in passes:
            fusing_pass(model.graph)
        finished = finish(model)
        if [output.name for output in finished.graph.output] != names:
            yield f"{choice}: the outputs are called {[output.name for output in finished.graph.output]}"
        runtime = OnnxRuntime(finished, RuntimeOptions(threads=1), custom=True)
        for image, references, limits in expected:
            results = runtime.run({"image": image})
            for name, reference, limit in zip(names, references, limits, strict=True):
                used = _used(results[name], reference, limit)
                if not used <= 1.0:
                    yield f"{choice}: {name} at batch {len(image)} uses {used:.2f} of its limit"


def _expected(network: nn.Module, batch: int, seed: int) -> tuple[NDArray[np.float32], list[Array], list[float]]:
    """An image, the outputs in float64, and their limits."""
    image = torch.randn(batch, CHANNELS, *SIZE, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        exact = copy.deepcopy(network).double()(image.double())
        rounded = network(image)
    references = [value.numpy() for value in exact]
    distances = [float((a - b.double()).abs().max()) for a, b in zip(exact, rounded, strict=True)]
    limits = [
        SHARE_OF_SPREAD * float(reference.std()) + TIMES_FLOAT32 * distance
        for reference, distance in zip(references, distances, strict=True)
    ]
    return image.numpy(), references, limits


def _used(value: NDArray[np.generic], reference: Array, limit: float) -> float:
    if value.shape != reference.shape or limit == 0.0:
        return float("inf")
    return float(np.abs(np.asarray(value, np.float64) - reference).max()) / limit
