"""Rounding rules: usual layers in float32 stay within their limits, wrong ones do not."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adroit.deploy.parity.rounding_model import Limits, limits_of
from adroit.deploy.parity.tolerance import compare
from tests.deploy.parity.rounding_layers import Layer, image, layers, off_by_a_little
from tests.user_networks.cases import CASES, Case

SEEDS = range(3)
# The least share of its limit that a layer's largest error uses, so that no limit is empty.
LEAST_USED = 0.002
NAMES = tuple(layers())


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors here are small: threads cost more than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class _Layers(nn.Module):
    """All layers of one image: a single export for them all."""

    def __init__(self, functions: Mapping[str, Layer]) -> None:
        super().__init__()
        self.functions = dict(functions)
        self.modules_ = nn.ModuleList(f for f in self.functions.values() if isinstance(f, nn.Module))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(x) for function in self.functions.values())


@dataclass
class _Figures:
    """Of one layer: shares of the limit that right and wrong results use.

    Attributes:
        right: of ONNX Runtime with and without its optimizer, and of PyTorch; for every seed.
        off: of results that are wrong by 1e-4 of the values' deviation. short: of those rounded to bfloat16.
    """

    right: list[float] = field(default_factory=list)
    off: list[float] = field(default_factory=list)
    short: list[float] = field(default_factory=list)


def exported(network: nn.Module, outputs: list[str]) -> bytes:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (image(0),),
            dynamo=True,
            verbose=False,
            opset_version=18,
            input_names=["x"],
            output_names=outputs,
            optimize=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


def session(model: bytes, optimized: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def measured(one_thread: None) -> tuple[dict[str, _Figures], frozenset[str]]:
    network = _Layers(layers()).eval()
    names = [f"layer_{name}" for name in NAMES]
    model = exported(network, names)
    sessions = [session(model, optimized) for optimized in (True, False)]
    exact = deepcopy(network).double()
    figures = {name: _Figures() for name in NAMES}
    empirical: set[str] = set()
    for seed in SEEDS:
        x = image(seed)
        found = limits_of(lambda inputs: dict(zip(NAMES, exact(inputs[0]), strict=True)), [x], seed)
        empirical |= found.empirical
        with torch.no_grad():
            values = [[value.numpy() for value in network(x)]]
        values += [one.run(None, {"x": x.numpy()}) for one in sessions]
        for place, name in enumerate(NAMES):
            _measure(figures[name], found, name, [form[place] for form in values], seed)
    return figures, frozenset(empirical)


def _measure(figures: _Figures, found: Limits, name: str, values: list[NDArray[np.float32]], seed: int) -> None:
    reference, limit = found.references[name].numpy(), found.limits[name].numpy()
    figures.right += [compare(value, reference, limit).used for value in values]
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], reference.shape)
    off = reference + 1e-4 * reference.std() * signs
    figures.off.append(compare(off.astype(np.float32), reference, limit).used)
    short = found.references[name].bfloat16().float().numpy()
    figures.short.append(compare(short, reference, limit).used)


Measured = tuple[dict[str, _Figures], frozenset[str]]


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_in_float32_is_within_its_limit(name: str, measured: Measured) -> None:
    assert max(measured[0][name].right) <= 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_that_is_wrong_is_outside_its_limit(name: str, measured: Measured) -> None:
    assert min(measured[0][name].off) > 1.0
    assert min(measured[0][name].short) > 10.0


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_is_not_far_above_the_error(name: str, measured: Measured) -> None:
    used = max(measured[0][name].right)
    assert used == 0.0 or used >= LEAST_USED  # 0: the layer moves or chooses values


def test_every_usual_layer_has_a_rule(measured: Measured) -> None:
    assert measured[1] == frozenset()


@contextlib.contextmanager
def _double_by_default() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _by_name(outputs: object) -> dict[str, Tensor]:
    return {f"output{place}": value for place, value in enumerate(torch.utils._pytree.tree_leaves(outputs))}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_networks_in_float32_are_within_their_limits(case: Case) -> None:
    network, inputs = case.network(), case.tensors(2, 0)
    with torch.no_grad():
        values = _by_name(network(*(x.clone() for x in inputs)))
        # Spectral normalization may still move its vectors in the first run.
        exact = deepcopy(network).double()
    with _double_by_default():
        found = limits_of(lambda inputs: _by_name(exact(*inputs)), inputs)
    assert found.empirical == frozenset()
    for name, value in values.items():
        assert compare(value.numpy(), found.references[name].numpy(), found.limits[name].numpy()).used <= 1.0
        assert (
            compare(off_by_a_little(found, name), found.references[name].numpy(), found.limits[name].numpy()).used > 1.0
        )


def _off(found: Limits, name: str) -> NDArray[np.float32]:
    reference = found.references[name]
    return (reference + 0.02 * reference.std()).float().numpy()
