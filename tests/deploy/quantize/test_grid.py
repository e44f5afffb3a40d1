"""The 8-bit grid of a tensor, and how it follows from the values that the tensor takes."""

from __future__ import annotations

import numpy as np
import pytest

from adroit.deploy.operators.grid import Grid
from adroit.deploy.quantize.calibrate import grids_of
from adroit.deploy.quantize.choices import Method
from adroit.deploy.quantize.histogram import Histogram
from adroit.errors import UnsupportedModel

RANGES = [(0.0, 6.0), (-1.0, 1.0), (-0.3, 7.7), (-5.0, -1.0), (2.0, 3.0), (0.0, 0.0), (-1e-30, 1e-30)]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_a_grid_holds_0_and_spans_the_range(low: float, high: float) -> None:
    grid = Grid.of_range(low, high)
    assert 0 <= grid.zero_point <= 255
    assert (grid.quantize(np.zeros(1)) == grid.zero_point).all()
    inside = np.linspace(low, high, 1001)
    assert np.abs(grid.rounded(inside) - inside).max() <= grid.scale * (1 + 1e-6)


def test_a_grid_of_values_above_0_wastes_nothing_on_those_below() -> None:
    grid = Grid.of_range(0.5, 5.1)
    assert grid.zero_point == 0 and grid.high == pytest.approx(5.1)


def test_integers_are_those_of_onnx() -> None:
    import onnxruntime
    from onnx import TensorProto, helper

    grid = Grid.of_range(-1.3, 2.9)
    values = np.random.default_rng(0).normal(0, 2, 5000).astype(np.float32)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.UINT8, [None])]
    constants = [
        helper.make_tensor("s", TensorProto.FLOAT, [], [grid.scale]),
        helper.make_tensor("z", TensorProto.UINT8, [], [grid.zero_point]),
    ]
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])], "g", inputs, outputs, constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": values})
    assert (found == grid.quantize(values)).all()


def _histogram(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part, "x")
    return histogram


def test_a_histogram_counts_every_value_however_its_range_grows() -> None:
    random = np.random.default_rng(0)
    parts = [random.normal(0, spread, 1000) for spread in (0.01, 100.0, 1.0)]
    whole = np.concatenate(parts)
    grid = grids_of({"x": _histogram(*parts)}, Method.percentile, 100.0)["x"]
    assert grid.low == pytest.approx(whole.min(), abs=grid.scale) and grid.high == pytest.approx(whole.max(), rel=0.01)
    grid = grids_of({"x": _histogram(*parts)}, Method.percentile, 90.0)["x"]
    outside = ((whole < grid.low) | (whole > grid.high)).mean()
    assert outside == pytest.approx(0.1, abs=0.01)


def test_the_percentile_of_values_above_0_cuts_only_above() -> None:
    values = np.abs(np.random.default_rng(0).normal(0, 1, 100_000))
    grid = _histogram(values).percentile(99.0)
    assert grid.zero_point == 0 and grid.high == pytest.approx(np.quantile(values, 0.99), rel=0.01)


def test_least_error_cuts_long_tails_and_keeps_an_even_range() -> None:
    random = np.random.default_rng(0)
    assert _histogram(random.uniform(0, 4, 100_000)).least_error().high == pytest.approx(4.0, rel=0.01)
    tailed = random.laplace(0, 1, 100_000)
    histogram = _histogram(tailed)
    found = histogram.least_error()
    others = [histogram.percentile(share) for share in (100.0, 99.99, 99.0, 95.0)]
    errors = [float(((grid.rounded(tailed) - tailed) ** 2).mean()) for grid in (found, *others)]
    assert min(errors) == errors[0] and found.high < 0.9 * tailed.max()


def test_values_that_are_not_finite_name_their_tensor() -> None:
    with pytest.raises(UnsupportedModel, match=r"layer1\.relu"):
        Histogram().add(np.array([1.0, np.nan]), "layer1.relu")


def test_a_tensor_that_is_all_0_has_a_grid() -> None:
    for method in Method:
        grid = grids_of({"x": _histogram(np.zeros(10))}, method, 99.9)["x"]
        assert grid.scale > 0 and grid.zero_point == 0
