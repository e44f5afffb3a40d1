"""Rounding rules: usual layers in float32 stay within their limits, wrong ones do not; what has no rule is measured."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adroit.deploy.parity.rounding_model import Limits, limits_of
from adroit.deploy.parity.tolerance import SAFETY, UNIT_ROUNDOFF, compare
from tests.deploy.parity.rounding_layers import SHAPE, Layer, layers
from tests.user_networks.cases import CASES, Case

SEEDS = range(3)
# The least share of its limit that a layer's largest error uses, so that no limit is empty.
LEAST_USED = 0.002
UNIT = UNIT_ROUNDOFF["float32"]
Tensors = Sequence[Tensor]
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


def image(seed: int) -> Tensor:
    """A random image whose channels' scales are between 0.01 and 10."""
    generator = torch.Generator().manual_seed(seed)
    scales = 10 ** (3 * torch.rand(1, SHAPE[1], 1, 1, generator=generator) - 2)
    return torch.randn(SHAPE, generator=generator) * scales


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
        assert compare(_off(found, name), found.references[name].numpy(), found.limits[name].numpy()).used > 1.0


def _off(found: Limits, name: str) -> NDArray[np.float32]:
    reference = found.references[name]
    return (reference + 0.02 * reference.std()).float().numpy()


def _one(compute: Layer, x: Tensor, seed: int = 0, precision: str = "float32") -> Limits:
    return limits_of(lambda inputs: {"y": compute(inputs[0])}, [x], seed, precision)


def _used(found: Limits, value: Tensor) -> float:
    return compare(value.numpy(), found.references["y"].numpy(), found.limits["y"].numpy()).used


UNCOMMON: Mapping[str, Layer] = {
    "aten.special_erfcx": torch.special.erfcx,
    "aten.digamma": lambda x: torch.digamma(x.abs() + 1),
    "aten.special_log_ndtr": torch.special.log_ndtr,
    "aten._fft_r2c": lambda x: torch.fft.rfft(x).abs(),
    "aten.linalg_cross": lambda x: torch.linalg.cross(x[:, :3], x[:, 3:6], dim=1),
    "aten.i0": lambda x: x.clamp(-3, 3).clone().i0_(),
    "aten.frexp": lambda x: torch.frexp(x)[0],
}


@pytest.mark.parametrize("name", UNCOMMON)
def test_an_operation_without_a_rule_is_measured_and_named(name: str) -> None:
    x = image(1)
    found = _one(UNCOMMON[name], x)
    assert name in found.empirical
    assert _used(found, UNCOMMON[name](x)) <= 1.0
    assert _used(found, torch.from_numpy(_off(found, "y"))) > 1.0


@torch.library.custom_op("rounding_rules::only_double", mutates_args=())
def _only_double(x: Tensor) -> list[Tensor]:
    if x.dtype != torch.float64:
        raise ValueError("float64 is needed")
    return [x * 3.0, (x > 0).long()]


def test_an_operation_that_refuses_float32_has_the_round_off_of_its_result() -> None:
    x = image(0)
    found = _one(lambda x: _only_double(x)[0], x)
    assert found.empirical == {"rounding_rules.only_double"}
    assert float(found.limits["y"].max()) < 3 * SAFETY**2 * UNIT * float(found.references["y"].abs().max())
    assert _used(found, x * 3.0) <= 1.0


@torch.library.custom_op("rounding_rules::add_third", mutates_args=("x",))
def _add_third(x: Tensor) -> None:
    x += 1 / 3


def test_an_operation_that_returns_nothing_runs() -> None:
    def compute(x: Tensor) -> Tensor:
        y = x.clone()
        _add_third(y)
        return y

    x = image(0)
    assert _one(compute, x).references["y"].equal(x.double() + 1 / 3)


def test_operations_in_place_move_what_other_views_see() -> None:
    def compute(x: Tensor) -> Tensor:
        y = x.clone()
        y[:, 0].mul_(1.1).add_(0.3)
        return y

    x = image(0)
    found = _one(compute, x)
    rounding = UNIT * found.references["y"].abs()
    assert bool((found.limits["y"][:, 0] > 2 * rounding[:, 0]).all())
    assert _used(found, compute(x)) <= 1.0


def test_operations_with_an_argument_for_their_result_move_it() -> None:
    def compute(x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        torch.mul(x, 1.1, out=y)
        return y

    x = image(0)
    found = _one(compute, x)
    assert found.references["y"].equal(x.double() * 1.1)
    assert bool((found.limits["y"] > 2 * UNIT * found.references["y"].abs()).all())


def test_the_limit_of_a_difference_is_that_of_its_terms() -> None:
    x = image(0)
    found = _one(lambda x: (x + 1000.0) - 1000.0, x)
    assert float(found.limits["y"].min()) > 1000 * UNIT
    assert _used(found, (x + 1000.0) - 1000.0) <= 1.0


def test_arithmetic_of_representable_numbers_is_exact() -> None:
    """So that coordinates do not jump from one pixel to its neighbor."""
    found = _one(lambda x: (torch.arange(8, dtype=x.dtype) * 0.5 + 1.0).floor() + x * 0.0, torch.zeros(8))
    assert found.limits["y"].equal(UNIT * found.references["y"])


def test_integers_pass_through_and_have_no_limit_where_they_are_certain() -> None:
    def compute(inputs: Tensors) -> dict[str, Tensor]:
        assert inputs[1].dtype == torch.int64
        return {"picked": inputs[0][:, inputs[1]], "best": inputs[0].mean(2).argmax(1)}

    found = limits_of(compute, [image(0), torch.tensor([2, 0])])
    assert found.references["best"].dtype == torch.int64
    assert float(found.limits["best"].max()) == 0.0
    assert found.references["picked"].equal(image(0).double()[:, [2, 0]])


def test_infinite_values_are_compared_as_such() -> None:
    x = image(0)
    found = _one(lambda x: torch.cat([x * 1.1, torch.full_like(x, -torch.inf) + x]), x)
    value = torch.cat([x * 1.1, torch.full_like(x, -torch.inf)])
    assert _used(found, value) <= 1.0
    assert _used(found, value.nan_to_num()) == np.inf


def test_the_root_of_a_variance_that_vanishes_has_a_limit() -> None:
    x = image(0).mean(1, keepdim=True).expand(SHAPE)
    found = _one(lambda x: x.var(1).sqrt(), x)
    assert bool(found.limits["y"].isfinite().all())
    assert _used(found, x.var(1).sqrt()) <= 1.0


@pytest.mark.parametrize("compute", [torch.sum, lambda x: x.sum((1, 2, 3)) + 0.1], ids=["scalar", "row"])
def test_scalars_and_rows_have_limits(compute: Layer) -> None:
    x = image(0)
    found = _one(compute, x)
    assert _used(found, compute(x)) <= 1.0
    assert _used(found, compute(x) * 1.1) > 1.0


def test_an_empty_tensor_has_an_empty_limit() -> None:
    assert _one(lambda x: x[:0] * 2.0, image(0)).limits["y"].shape == (0, *SHAPE[1:])


def test_limits_follow_the_seed_and_the_precision() -> None:
    x = image(0)
    first, again, other = (_one(torch.sigmoid, x, seed).limits["y"] for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)
    half = _one(torch.sigmoid, x, precision="float16")
    assert float(half.limits["y"].mean() / first.mean()) > 2**12
    assert _used(half, x.half().sigmoid().float()) <= 1.0
