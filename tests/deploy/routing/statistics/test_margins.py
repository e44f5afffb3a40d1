"""Values of gates before they are closed: open ones are the deployment's, closed ones say how far they are from it."""

from __future__ import annotations

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.routing.collect import collect_routes
from adroit.deploy.routing.statistics.margins import gate_values
from adroit.deploy.routing.statistics.route_statistics import route_statistics
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import ImageSet


@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_values_above_the_threshold_are_the_open_gates(
    threshold: float, deployments: dict[str, Deployment], options: RuntimeOptions, image_set: ImageSet
) -> None:
    samples = collect_routes(deployments["if"], options, image_set, threshold)
    values = gate_values(deployments["if"], image_set, threshold)
    paths = samples[0].route.space.paths
    live = np.array([[s.route.is_live(path.node) for path in paths] for s in samples])
    opened = np.array([s.route.open for s in samples])
    np.testing.assert_array_equal((values > threshold) & live, opened)
    np.testing.assert_allclose(values[opened], np.stack([s.gates for s in samples])[opened], atol=1e-4)
    assert values[live & ~opened].min() < 0.0  # what a deployment does not tell

    result = route_statistics(deployments["if"], samples, threshold, gate_values=values)
    below = threshold - values[live & ~opened]
    assert result.closed_margins is not None and sum(result.closed_margins.histogram) == (below <= 1).sum()
    assert result.closed_margins.minimum == pytest.approx(below.min()) and below.min() >= 0.0
    assert result.closed_margins.median == pytest.approx(np.median(below))
    assert route_statistics(deployments["if"], samples, threshold).closed_margins is None
