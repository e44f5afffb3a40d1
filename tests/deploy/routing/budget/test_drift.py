"""One number measures the drift of gate values from those of the calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.budget.drift import BINS, MINIMUM_IMAGES, WINDOW, Drift, gate_counts, stability_index
from adroit.deploy.routing.collect import collect_routes
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import ImageSet


def test_gates_are_counted_by_tenths_and_closed_ones_apart() -> None:
    gates = np.array([[0.0, 0.0, 0.05], [0.1, 0.11, 0.999]], np.float64)
    assert gate_counts(gates).tolist() == [2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert len(gate_counts(np.zeros(0))) == BINS


def test_the_index_is_the_sum_of_its_definition() -> None:
    expected, result = np.array([30, 70]), np.array([60, 40])
    e, f = (30.5 / 101, 70.5 / 101), (60.5 / 101, 40.5 / 101)
    by_hand = sum((b - a) * math.log(b / a) for a, b in zip(e, f, strict=True))
    assert stability_index(expected, result) == pytest.approx(by_hand)
    assert stability_index(result, result * 1) == 0.0
    assert math.isfinite(stability_index(np.array([100, 0]), np.array([0, 100])))


def test_old_images_are_forgotten() -> None:
    calm, wild = np.full(50, 0.35), np.full(50, 0.95)
    drift = Drift({0.0: gate_counts(calm).tolist()})
    for _ in range(MINIMUM_IMAGES):
        drift.add(0.0, wild)
    worst = drift.index()
    assert worst > 0.25
    for _ in range(WINDOW * 8):
        drift.add(0.0, calm)
    assert drift.index() < 0.01 < worst


def test_images_at_several_thresholds_are_compared_with_their_own_calibration() -> None:
    low, high = np.array([0.15, 0.45, 0.75]), np.array([0.0, 0.0, 0.75])
    drift = Drift({0.0: gate_counts(low).tolist(), 0.5: gate_counts(high).tolist()})
    for i in range(MINIMUM_IMAGES):
        drift.add(*((0.0, low) if i % 3 else (0.5, high)))
    assert drift.index() == pytest.approx(0.0, abs=1e-6)


def test_dark_images_drift_and_those_of_the_calibration_do_not(
    routed_deployment: Deployment, options: RuntimeOptions, labeled: ImageSet
) -> None:
    calibrated = gates_of(routed_deployment, options, labeled)
    dark = ImageSet(labeled.names, lambda i: labeled.load(i) // 8)
    drifts = []
    for images in (labeled, dark):
        drift = Drift({0.0: gate_counts(calibrated).tolist()})
        for gates in np.tile(gates_of(routed_deployment, options, images), (-(-MINIMUM_IMAGES // len(images)), 1)):
            drift.add(0.0, gates)
        drifts.append(drift.index())
    same, other = drifts
    assert same < 0.01
    assert other > 0.1


def gates_of(deployment: Deployment, options: RuntimeOptions, images: ImageSet) -> np.ndarray:
    """Collects the gates of images, [images,paths]."""
    return np.stack([sample.gates for sample in collect_routes(deployment, options, images)])
