"""The limits of a computation: operations without a rule, in place, exact ones, what is not finite, types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from adroit.deploy.parity.rounding_model import Limits, limits_of
from adroit.deploy.parity.tolerance import SAFETY, UNIT_ROUNDOFF, compare
from tests.deploy.parity.rounding_layers import SHAPE, Layer, image, off_by_a_little

UNIT = UNIT_ROUNDOFF["float32"]
Tensors = Sequence[Tensor]


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
    assert _used(found, torch.from_numpy(off_by_a_little(found, "y"))) > 1.0


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
