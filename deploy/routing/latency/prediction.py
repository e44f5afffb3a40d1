"""The error of a latency table's predictions, at the speed that the machine had during the measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adroit.deploy.deployment.latency_table import LatencyTable, Speed
from adroit.models.routing.route import Route


@dataclass(frozen=True)
class LatencyPrediction:
    """The error of a table's predictions for measured images.

    Attributes:
        scale: factor on the table's times: the time of the reference run beside the images / its time beside the
            table; 1 where images and table took turns. The images' own times play no part in it.
        speed: of the machine while the images were measured; the table has its own.
        steady: whether the machine had one speed during each of the two.
        error: relative to the measured times: median and 95th percentile.
        unscaled_error: the same for the table's times without the factor.
    """

    scale: float
    speed: Speed
    steady: bool
    error: tuple[float, float]
    unscaled_error: tuple[float, float]

    def __str__(self) -> str:
        (typical, high), (_, unscaled) = self.error, self.unscaled_error
        text = f"to {typical:.1%} (median), {high:.1%} (95th percentile), "
        text += (
            "measured in turns with the table"
            if self.scale == 1.0
            else f"scaled by {self.scale:.3f} for the machine's speed ({unscaled:.1%} unscaled)"
        )
        return text + ("" if self.steady else "; the machine's speed changed meanwhile: do not rely on it")


def check_prediction(
    table: LatencyTable, now: Speed, routes: Sequence[Route], milliseconds: Sequence[float]
) -> LatencyPrediction:
    """Compares `table` with images along `routes` that took `milliseconds` at the speed `now`."""
    scale = now.milliseconds / table.speed.milliseconds
    steady = table.speed.steady and now.steady
    error, unscaled = (_error(t, routes, milliseconds) for t in (table.scaled(now), table))
    return LatencyPrediction(scale, now, steady, error, unscaled)


def _error(table: LatencyTable, routes: Sequence[Route], milliseconds: Sequence[float]) -> tuple[float, float]:
    errors = np.abs(np.array([table.predict(route) for route in routes]) / np.array(milliseconds) - 1)
    return float(np.median(errors)), float(np.percentile(errors, 95))
