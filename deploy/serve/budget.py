"""A request's budget as gate thresholds, and what the routes that it led to cost."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.budget.table import BudgetTable, choose, read_table
from deploy.entry import GATES, THRESHOLD, Entry
from deploy.routes.collect import entry_costs
from deploy.serve.messages import Parameter
from deploy.serve.refusal import invalid
from models.errors import UsageError
from models.routing.route import Route

# A request names one of these, for all of its samples; or gives thresholds as a tensor, one a sample.
PARAMETERS = frozenset({THRESHOLD, "gflops", "milliseconds"})


class Budget:
    """Of one model."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.gated = THRESHOLD in (spec.name for spec in entry.info.inputs)
        self._table: BudgetTable | None = None
        if self.gated and entry.info.budget is not None:
            self._table = read_table(entry)
        # Few routes come again and again; adding up one of a large space takes long enough to keep it.
        self._gflops = functools.lru_cache(maxsize=4096)(self._gflops_of)

    def thresholds(
        self, parameters: Mapping[str, Parameter], given: NDArray[Any] | None, samples: int
    ) -> NDArray[np.float32] | None:
        """One gate threshold a sample, [samples]; None for a network without gates.

        Args:
            given: the request's tensor of thresholds, [samples] or [samples,1], if it has one.

        Raises:
            Refusal: a budget for a network that has no gates, more than one, or one that cannot be kept.
        """
        named = sorted(PARAMETERS & set(parameters))
        if len(named) + (given is not None) > 1:
            raise invalid(
                f"the request gives more than one budget: {', '.join(named)}{', a tensor' * (given is not None)}"
            )
        if not self.gated:
            if named:
                raise invalid(f"{self._entry.path.name} has no gates, so it takes no {named[0]}")
            return None
        if given is not None:
            return _checked(given, samples)
        return np.full(samples, self._threshold(named[0], parameters[named[0]]) if named else 0.0, np.float32)

    def _threshold(self, name: str, value: Parameter) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise invalid(f"parameter {name} must be a number of at least 0")
        if name == THRESHOLD:
            return min(float(value), 1.0)  # gates are at most 1
        if self._table is None:
            raise invalid(f"{self._entry.path.name} has no budget table, so it takes {THRESHOLD} but no {name}")
        try:
            gflops, milliseconds = (float(value) if name == kind else None for kind in ("gflops", "milliseconds"))
            return choose(self._table, gflops=gflops, milliseconds=milliseconds).threshold
        except UsageError as error:
            raise invalid(f"{error.message} ({error.hint})") from error

    def route_gflops(self, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> NDArray[np.float64] | None:
        """Operations / 1e9 of each sample's route, [N], for inputs of `size`; None for a network without gates."""
        if not self.gated:
            return None
        return np.array([self._gflops((sample > 0).tobytes(), size) for sample in outputs[GATES]])

    def _gflops_of(self, opened: bytes, size: tuple[int, int]) -> float:
        costs = entry_costs(self._entry, size)
        return costs.of_route(Route.from_gates(costs.space, np.frombuffer(opened, np.bool_))).total / 1e9


def _checked(given: NDArray[Any], samples: int) -> NDArray[np.float32]:
    if given.dtype != np.float32 or given.shape not in ((samples,), (samples, 1)):
        raise invalid(f"input {THRESHOLD} must be FP32 with one value a sample, [{samples}]")
    if not np.all(np.isfinite(given) & (given >= 0)):
        raise invalid(f"input {THRESHOLD} must hold numbers of at least 0")
    return given.reshape(samples)
