"""A request's budget as gate thresholds, and what the routes that it led to cost."""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import THRESHOLD, Deployment
from adroit.deploy.routing.budget.table import BudgetTable, choose, read_table
from adroit.deploy.routing.collect import deployment_costs
from adroit.deploy.serve.classes import CostClass
from adroit.deploy.serve.protocol.messages import Parameter
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.errors import UsageError
from adroit.models.routing.route import Route

# A request names one of these, for all of its samples; or gives thresholds as a tensor, one a sample.
COSTS = ("gflops", "milliseconds")
PARAMETERS = frozenset({THRESHOLD, *COSTS})


class Budget:
    """Of one model.

    Attributes:
        gated: the model has a gate threshold.
        table: of `adroit budget`, where it has one.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.gated = THRESHOLD in (spec.name for spec in deployment.info.inputs)
        self.table: BudgetTable | None = None
        if self.gated and deployment.info.budget is not None:
            self.table = read_table(deployment)
        # Few routes come again and again; adding up one of a large space takes long enough to keep it.
        self._gflops = functools.lru_cache(maxsize=4096)(self._gflops_of)
        self._table_for = functools.lru_cache(maxsize=64)(self._table_of)
        self._expected_for = functools.lru_cache(maxsize=64)(self._expected_of)

    def thresholds(
        self,
        parameters: Mapping[str, Parameter],
        given: NDArray[Any] | None,
        samples: int,
        size: tuple[int, int],
        cost_class: CostClass,
    ) -> NDArray[np.float32] | None:
        """One gate threshold a sample, [samples], none below what the class allows; None without gates.

        Args:
            given: the request's tensor of thresholds, [samples] or [samples,1], if it has one.
            size: (height, width) of the network's input: costs are an image's, as large as it is.

        Raises:
            Refusal: a budget for a network that has no gates, more than one, or one that cannot be kept.
        """
        named = sorted(PARAMETERS & parameters.keys())
        if len(named) + (given is not None) > 1:
            raise invalid(
                f"the request gives more than one budget: {', '.join(named)}{', a tensor' * (given is not None)}"
            )
        if not self.gated:
            if named:
                raise invalid(f"{self._deployment.path.name} has no gates, so it takes no {named[0]}")
            return None
        if given is not None:
            asked = _checked(given, samples)
        else:
            asked = np.zeros(samples, np.float32)
            if named:
                asked += np.float32(self._threshold(named[0], parameters[named[0]], size))
        least = self._least(cost_class, size)
        return np.maximum(asked, np.float32(least)) if least else asked

    def _threshold(self, name: str, value: Parameter, size: tuple[int, int]) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise invalid(f"parameter {name} must be a number of at least 0")
        if name == THRESHOLD:
            return min(float(value), 1.0)  # gates are at most 1
        if self.table is None:
            raise invalid(f"{self._deployment.path.name} has no budget table, so it takes {THRESHOLD} but no {name}")
        try:
            gflops, milliseconds = (float(value) if name == kind else None for kind in COSTS)
            return choose(self._table_for(size), gflops=gflops, milliseconds=milliseconds).threshold
        except UsageError as error:
            raise invalid(f"{error.message} ({error.hint})") from error

    def _least(self, cost_class: CostClass, size: tuple[int, int]) -> float:
        """The lowest threshold that a class may use."""
        if cost_class.gflops == math.inf:
            return 0.0
        name = self._deployment.path.name
        if self.table is None:
            raise Refusal(Reason.FORBIDDEN, f"{name} has no budget table, so it serves no class with a limit")
        try:
            return choose(self._table_for(size), gflops=cost_class.gflops, worst=True).threshold
        except UsageError as error:
            raise Refusal(Reason.FORBIDDEN, f"the request's class may not use {name}: {error.message}") from error

    def expected_gflops(self, thresholds: Sequence[float], size: tuple[int, int]) -> float | None:
        """Mean over the samples of what the table says of their thresholds; None without a table."""
        if self.table is None:
            return None
        known, costs = self._expected_for(size)
        return fmean([costs[bisect_right(known, threshold) - 1] for threshold in thresholds])

    def route_gflops(self, gates: NDArray[Any], size: tuple[int, int]) -> list[float]:
        """Operations / 1e9 of each sample's route, for gates [N,paths] of inputs of `size`."""
        return [self._gflops(opened.tobytes(), size) for opened in gates > 0]

    def _gflops_of(self, opened: bytes, size: tuple[int, int]) -> float:
        costs = deployment_costs(self._deployment, size)
        return costs.of_route(Route.from_gates(costs.space, np.frombuffer(opened, np.bool_))).total / 1e9

    def _expected_of(self, size: tuple[int, int]) -> tuple[list[float], list[float]]:
        """Thresholds of the table, as float32 has them, and the mean operations at each."""
        settings = self._table_for(size).settings
        return [float(np.float32(s.threshold)) for s in settings], [s.gigaflops.mean for s in settings]

    def _table_of(self, size: tuple[int, int]) -> BudgetTable:
        assert self.table is not None
        return self.table.for_size(size)


def asked_budget(parameters: Mapping[str, Parameter], cost_class: CostClass) -> tuple[str, float] | None:
    """What an image of the request is to be held to: its kind of COSTS, and the value."""
    for kind in COSTS:
        if kind in parameters:
            return kind, float(parameters[kind])
    return None if cost_class.gflops == math.inf else ("gflops", cost_class.gflops)


def _checked(given: NDArray[Any], samples: int) -> NDArray[np.float32]:
    if given.dtype != np.float32 or given.shape not in ((samples,), (samples, 1)):
        raise invalid(f"input {THRESHOLD} must be FP32 with one value a sample, [{samples}]")
    if not np.all(np.isfinite(given) & (given >= 0)):
        raise invalid(f"input {THRESHOLD} must hold numbers of at least 0")
    return given.reshape(samples)
