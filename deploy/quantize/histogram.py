"""How the values of a tensor are spread over all calibration images, in a fixed amount of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.operators.grid import Grid
from adroit.errors import UnsupportedModel

BINS = 4096
# Ranges tried by least_error: shares of the whole range, in steps of one of this many.
TRIED = 128


class Histogram:
    """Counts of BINS equal bins from -reach to reach; reach doubles, and bins merge, when a value lies outside."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)
        self._reach = 0.0
        self.low, self.high = np.inf, -np.inf

    def add(self, values: NDArray[Any], name: str) -> None:
        """Raises UnsupportedModel for values that are not finite; `name` is the tensor's."""
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise UnsupportedModel(
                f"{name} has values that are not finite on the calibration images, so it has no 8-bit range",
                hint="check the network with `adroit check` first",
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        needed = max(abs(low), abs(high))
        if self._reach == 0.0:
            self._reach = needed
        while needed > self._reach:
            merged = self._counts.reshape(-1, 2).sum(1)
            self._counts = np.concatenate([np.zeros(BINS // 4, np.int64), merged, np.zeros(BINS // 4, np.int64)])
            self._reach *= 2
        if self._reach > 0.0:
            self._counts += np.histogram(values, BINS, (-self._reach, self._reach))[0]

    @property
    def _centers(self) -> NDArray[np.float64]:
        return np.asarray((np.arange(BINS) + 0.5 - BINS / 2) * (2 * self._reach / BINS), np.float64)

    def percentile(self, share: float) -> Grid:
        """The grid that leaves (100 - share) % of the values outside, half of them on each side where both exist."""
        sides = [self.low < 0, self.high > 0]
        outside = (1 - share / 100) * self._counts.sum() / max(1, sum(sides))
        low = -self._end(self._counts[::-1], outside) if sides[0] else 0.0
        high = self._end(self._counts, outside) if sides[1] else 0.0
        return Grid.of_range(max(low, self.low), min(high, self.high))

    def _end(self, counts: NDArray[np.int64], outside: float) -> float:
        """The upper border of the highest bin (the last of `counts`) above which at most `outside` values lie."""
        bins_above = int(np.searchsorted(np.cumsum(counts[::-1]), outside, side="right"))
        return self._reach * (1 - 2 * min(bins_above, BINS - 1) / BINS)

    def least_error(self) -> Grid:
        """The grid of the least mean squared error, of those that span a share of the whole range."""
        grids = [Grid.of_range(self.low * s / TRIED, self.high * s / TRIED) for s in range(TRIED // 8, TRIED + 1)]
        return min(grids, key=self._error)

    def _error(self, grid: Grid) -> float:
        """Within the grid the error is that of rounding, scale^2 / 12; outside, the distance to its end."""
        outside = np.maximum(np.maximum(grid.low - self._centers, self._centers - grid.high), 0.0)
        return float((self._counts * np.maximum(outside**2, grid.scale**2 / 12)).sum())
