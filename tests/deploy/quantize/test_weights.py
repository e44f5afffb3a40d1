"""Weights on the grid of their layer's input: the clamp is exact, rounding is the only error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import adroit.models.operators.quantized_adder_conv2d  # noqa: F401  (registers torch.ops.adroit.*)
from adroit.deploy.operators.grid import Grid
from adroit.deploy.quantize.weights import quantize_weights

GRIDS = [Grid(0.03125, 0), Grid(0.0625, 100), Grid(0.03125, 255)]


def _quantized(x: np.ndarray, weight: np.ndarray, scale: np.ndarray, shift: np.ndarray, grid: Grid) -> np.ndarray:
    """[1,M,1,1] float32 of the 8-bit layer on x [1,C,k,k], which must be on the grid."""
    found = quantize_weights(weight, scale, shift, grid)
    arrays = [torch.from_numpy(a) for a in (grid.quantize(x), found.weight, found.scale, found.shift)]
    return torch.ops.adroit.q_adder_conv2d(*arrays, 1, 0, False, grid.zero_point, 1, 1.0, 0).numpy()


@pytest.mark.parametrize("grid", GRIDS)
def test_weights_outside_the_range_cost_nothing(grid: Grid) -> None:
    """Weights far below and above X's range, the others on its grid: the same numbers as in float64."""
    random = np.random.default_rng(0)
    x = grid.rounded(random.uniform(grid.low, grid.high, (1, 5, 3, 3)))
    inside = grid.rounded(random.uniform(grid.low, grid.high, (7, 5, 3, 3)))
    far = np.where(random.random(inside.shape) < 0.5, grid.low - 7.3, grid.high + 31.9)
    weight = np.where(random.random(inside.shape) < 0.6, far, inside).astype(np.float32)
    scale, shift = random.normal(0, 0.1, (2, 7)).astype(np.float32)
    right = shift - scale * np.abs(x - weight.astype(np.float64)).sum((1, 2, 3))
    found = _quantized(x, weight, scale, shift, grid)[0, :, 0, 0]
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5)


def test_without_the_clamp_it_would_not_be_so() -> None:
    """The test above has teeth: the constant in shift is what makes it pass."""
    grid = GRIDS[0]
    weight = np.full((1, 1, 1, 1), -4.0, np.float32)
    found = quantize_weights(weight, np.ones(1, np.float32), np.zeros(1, np.float32), grid)
    assert found.weight.item() == 0 and found.shift.item() == -4.0 and found.clamped == 1.0


def test_rounding_moves_a_tap_by_half_a_step_at_most() -> None:
    random = np.random.default_rng(1)
    grid = Grid.of_range(0.0, 4.0)
    x = grid.rounded(random.uniform(0, 4, (1, 8, 3, 3)))
    weight = random.normal(0, 4, (6, 8, 3, 3)).astype(np.float32)
    one, zero = np.ones(6, np.float32), np.zeros(6, np.float32)
    right = -np.abs(x - weight.astype(np.float64)).sum((1, 2, 3))
    error = np.abs(_quantized(x, weight, one, zero, grid)[0, :, 0, 0] - right)
    assert (error <= weight[0].size * grid.scale / 2).all() and error.max() > 0


def test_a_bias_goes_into_shift() -> None:
    grid = GRIDS[0]
    found = quantize_weights(np.zeros((2, 1, 1, 1), np.float32), np.ones(2, np.float32), np.ones(2, np.float32), grid)
    assert found.moved(np.array([0.5, -2.0])).shift.tolist() == [1.5, -1.0]
