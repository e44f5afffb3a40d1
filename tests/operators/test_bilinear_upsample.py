"""BilinearUpsample of the native library: against torch in float64, and the same bits however it is cut up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, RuntimeException
from torch.nn import functional

from adroit.deploy.parity.tolerance import compare, rounding_limit
from tests.operators.harness import node_model, run_node

SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 1, 5),
    (1, 4, 7, 1),
    (1, 19, 16, 32),
    (2, 5, 13, 11),
    (1, 2, 65, 9),  # a row more than a tile
    (1, 2, 3, 255),
    (1, 1, 2, 257),  # a column more than a tile at factor 4
    (1, 1, 130, 513),  # and at factor 2, several tiles in both directions
]


def upsampled(x: np.ndarray, factor: int, threads: int = 2) -> np.ndarray:
    inputs = {"X": x}
    (y,) = run_node(node_model("BilinearUpsample", inputs, {"factor": factor}), inputs, "native", threads)
    return y


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_native_within_the_rounding_of_float64(shape: tuple[int, int, int, int], factor: int) -> None:
    x = np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
    exact, magnitude = (
        functional.interpolate(seen, scale_factor=factor, mode="bilinear", align_corners=False).numpy()
        for seen in (torch.from_numpy(x).double(), torch.from_numpy(x).double().abs())
    )
    result = compare(upsampled(x, factor), exact, rounding_limit(exact, magnitude, 4))
    assert result.passed, result


@pytest.mark.parametrize("factor", [2, 4])
def test_native_keeps_a_constant_and_each_image_for_itself(factor: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, 70, 33)).astype(np.float32)
    x[1] = 0.3
    found = upsampled(x, factor)
    # Weights are sums of powers of two that sum to 1, so only their products round.
    np.testing.assert_allclose(found[1], np.float32(0.3), rtol=3e-7)
    for index in range(3):
        np.testing.assert_array_equal(found[index : index + 1], upsampled(x[index : index + 1], factor, threads=1))


@pytest.mark.parametrize("factor", [2, 4])
def test_native_spreads_what_is_not_finite_to_its_neighbors_alone(factor: int) -> None:
    x = np.zeros((1, 1, 9, 9), np.float32)
    x[0, 0, 4, 4] = np.inf
    reached = ~np.isfinite(upsampled(x, factor)[0, 0])
    near = slice(4 * factor - factor // 2, 5 * factor + factor // 2)
    assert reached[near, near].all() and reached.sum() == (2 * factor) ** 2


def test_native_refuses_what_it_does_not_compute() -> None:
    x = np.zeros((1, 1, 4, 4), np.float32)
    with pytest.raises((InvalidArgument, RuntimeException), match="factor is 3, expected 2 or 4"):
        upsampled(x, 3)
    with pytest.raises((InvalidArgument, RuntimeException), match="empty input"):
        upsampled(x[:, :0], 2)
    with pytest.raises((InvalidArgument, RuntimeException), match="expected 4 dimensions"):
        upsampled(x[0], 2)
