"""Checks exported random networks: every choice of passes gives what PyTorch gives in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adroit.deploy.export.graph import finish
from adroit.deploy.export.trace import trace
from adroit.deploy.passes.fusing import FUSING_PASSES, MENDING_PASSES, Pass
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from tests.deploy.passes.random_maker import CHANNELS, SIZE
from tests.deploy.passes.random_networks import random_network

# A correct result's distance from float64: a share of the values' spread, and a multiple of the distance that
# PyTorch's own float32 has, since a network may enlarge rounding (an adder's sum without a norm above all).
SHARE_OF_SPREAD, TIMES_FLOAT32 = 2e-5, 10.0
BATCHES = (1, 3)

Array = NDArray[np.float64]


def choices_of_passes() -> dict[str, Sequence[Pass]]:
    """All fusing passes, none, and all but each; those that mend come first in any case."""
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
    exact, limits = copy.deepcopy(whole).double(), _limits(whole, seeds[0])
    example = torch.zeros(2, CHANNELS, *SIZE)
    traced = ir.serde.serialize_model(trace(whole, example, ["image"], names, {"x": {0: "batch"}}))
    for choice, passes in choices_of_passes().items():
        model = ir.serde.deserialize_model(traced)
        for change in (*MENDING_PASSES, *passes):
            change(model.graph)
        finished = finish(model)
        if [output.name for output in finished.graph.output] != names:
            yield f"{choice}: the outputs are called {[output.name for output in finished.graph.output]}"
        runtime = OnnxRuntime(finished, RuntimeOptions(threads=1), custom=True)
        for batch in BATCHES:
            image = _image(batch, seeds[0])
            results = runtime.run({"image": image.numpy()})
            with torch.no_grad():
                references = exact(image.double())
            for name, reference, limit in zip(names, references, limits, strict=True):
                used = _used(results[name], reference.numpy(), limit)
                if not used <= 1.0:
                    yield f"{choice}: {name} at batch {batch} uses {used:.2f} of its limit"


def _image(batch: int, seed: int) -> Tensor:
    return torch.randn(batch, CHANNELS, *SIZE, generator=torch.Generator().manual_seed(seed))


def _limits(network: nn.Module, seed: int) -> list[float]:
    """For each output, from more images than are compared: three logits say little about rounding."""
    image = _image(16, seed + 1)
    with torch.no_grad():
        pairs = list(zip(copy.deepcopy(network).double()(image.double()), network(image), strict=True))
    return [
        SHARE_OF_SPREAD * float(exact.std()) + TIMES_FLOAT32 * float((exact - rounded.double()).abs().max())
        for exact, rounded in pairs
    ]


def _used(value: NDArray[np.generic], reference: Array, limit: float) -> float:
    if value.shape != reference.shape or limit == 0.0:
        return float("inf")
    return float(np.abs(np.asarray(value, np.float64) - reference).max()) / limit
