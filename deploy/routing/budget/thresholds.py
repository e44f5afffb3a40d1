"""Chooses the gate thresholds of a budget table: costs spread over the possible range, and stable ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.routing.budget.stability import instability

# tanh stays below 1, so that nothing is above this threshold: stem, gates and head alone.
ALL_CLOSED = 1.0
# Candidates to choose from, and images that each of them is tried on.
CANDIDATES, PROBED_IMAGES = 64, 25
# Gates nearer than this count as one: rounding may exchange them.
ROUNDING = 1e-5

# Image and threshold to the image's gates at it, [paths], and the operations of its route.
Probe = Callable[[int, float], tuple[NDArray[np.float32], float]]


def choose_thresholds(probe: Probe, images: Sequence[int], settings: int) -> list[float]:
    """Chooses at most `settings` thresholds, from 0 to 1, whose mean operations are about evenly spaced.

    Among candidates of about the same cost it takes the most stable one (deploy/routing/budget/stability.py).

    Args:
        images: those to try candidates on, in the data's order; at least one.
    """
    candidates = [0.0, *_between_gates([probe(index, 0.0)[0] for index in images]), ALL_CLOSED]
    costs = np.array([[probe(index, threshold)[1] for threshold in candidates] for index in images])
    means = costs.mean(0)
    instabilities = [instability(column.tolist()) for column in costs.T]
    unsteady = np.array(
        [float(np.std(column)) if u is None else u for u, column in zip(instabilities, costs.T, strict=True)]
    )
    wanted, step = np.linspace(means[0], means[-1], settings, retstep=True)
    chosen = {0, len(candidates) - 1}
    for cost in wanted[1:-1]:
        (near,) = np.nonzero(np.abs(means - cost) <= abs(step) / 2)
        if len(near):
            chosen.add(int(near[unsteady[near].argmin()]))
    return [candidates[i] for i in sorted(chosen)]


def _between_gates(images: Sequence[NDArray[np.float32]]) -> list[float]:
    """Returns thresholds between the images' open gates, the same number of gates from one to the next.

    Each is halfway between two gates, so that rounding closes no other one.
    """
    gates = np.unique(np.concatenate(images))
    between = ((gates[1:] + gates[:-1]) / 2)[np.diff(gates) > ROUNDING]
    places = np.unique(np.linspace(0, max(len(between) - 1, 0), CANDIDATES).round().astype(int))
    return [float(between[place]) for place in places[: len(between)]]
