"""Thresholds are chosen for evenly spaced costs, and among those that cost alike for steadiness."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from adroit.deploy.routing.budget.thresholds import choose_thresholds

IMAGES = list(range(10))


def test_costs_are_evenly_spaced() -> None:
    gates = np.random.default_rng(0).uniform(0, 1, (len(IMAGES), 50)).astype(np.float32)

    def probe(image: int, threshold: float) -> tuple[NDArray[np.float32], float]:
        return gates[image], float((gates[image] > threshold).sum()) + 10.0

    result = choose_thresholds(probe, IMAGES, settings=9)
    means = np.array([np.mean([probe(image, threshold)[1] for image in IMAGES]) for threshold in result])
    assert result == sorted(set(result)) and (result[0], result[-1], len(result)) == (0.0, 1.0, 9)
    steps = -np.diff(means)
    assert steps.min() > 0 and steps.max() < 2 * 50 / 8


def test_of_thresholds_that_cost_alike_the_steady_one_is_taken() -> None:
    """A gate of half of the cost is open at 0.4 in the first half of the images, and in the others at 0.6."""
    decisive = np.where(np.arange(10) < 5, 0.4, 0.6)

    def probe(image: int, threshold: float) -> tuple[NDArray[np.float32], float]:
        gates = np.array([*np.linspace(0.01, 0.99, 40), decisive[image]], np.float32)
        opened = gates > threshold
        return gates, float(10 + opened[:-1].sum() + 40 * opened[-1])

    result = choose_thresholds(probe, IMAGES, settings=5)
    assert len(result) > 3
    assert not [threshold for threshold in result if 0.41 < threshold < 0.59]


@pytest.mark.parametrize("gates", [[], [0.5]])
def test_a_network_that_no_threshold_divides_has_its_two_ends(gates: list[float]) -> None:
    values = np.array(gates, np.float32)
    assert choose_thresholds(lambda _, threshold: (values, 2.0 - threshold), [0], 17) == [0.0, 1.0]
