"""The gate thresholds that a request's budget stands for, and the cost of the routes that they led to."""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.budget_table import BudgetTable
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
from adroit.deploy.routing.budget.table import choose, read_table
from adroit.deploy.routing.collect import deployment_costs
from adroit.deploy.serve.cost_classes import CostClass
from adroit.deploy.serve.protocol.messages import Parameter
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.errors import UsageError
from adroit.models.routing.route import Route

# A request names one of these for all of its samples, or gives thresholds as a tensor, one for each sample.
COSTS = ("gflops", "milliseconds")
PARAMETERS = frozenset({GATE_THRESHOLD_INPUT, *COSTS})


class ModelBudget:
    """The budgets of one model.

    Attributes:
        gated: the model has a gate threshold.
        table: the table that `adroit budget` wrote, if there is one.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.gated = GATE_THRESHOLD_INPUT in (spec.name for spec in deployment.info.inputs)
        self.table: BudgetTable | None = None
        if self.gated and deployment.info.budget is not None:
            self.table = read_table(deployment)
        # The same few routes come again and again, and adding up the cost of one in a large space takes long.
        self._cached_gflops = functools.lru_cache(maxsize=4096)(self._gflops)
        self._cached_table = functools.lru_cache(maxsize=64)(self._table)
        self._cached_expected = functools.lru_cache(maxsize=64)(self._expected)

    def thresholds(
        self,
        parameters: Mapping[str, Parameter],
        tensor: NDArray[Any] | None,
        samples: int,
        size: tuple[int, int],
        cost_class: CostClass,
    ) -> NDArray[np.float32] | None:
        """Return one gate threshold for each sample, [samples], none below what the class allows; None without gates.

        Args:
            tensor: the request's tensor of thresholds, [samples] or [samples,1], if it has one.
            size: (height, width) of the network's input in pixels, on which the cost of an image depends.

        Raises:
            Refusal: a budget for a network that has no gates, more than one budget, or one that no threshold meets.
        """
        named = sorted(PARAMETERS & parameters.keys())
        if len(named) + (tensor is not None) > 1:
            raise invalid(
                f"the request gives more than one budget: {', '.join(named)}{', a tensor' * (tensor is not None)}"
            )
        if not self.gated:
            if named:
                raise invalid(f"{self._deployment.path.name} has no gates, so it takes no {named[0]}")
            return None
        if tensor is not None:
            requested = _check_thresholds(tensor, samples)
        else:
            requested = np.zeros(samples, np.float32)
            if named:
                requested += np.float32(self._threshold(named[0], parameters[named[0]], size))
        minimum = self._minimum_threshold(cost_class, size)
        return np.maximum(requested, np.float32(minimum)) if minimum else requested

    def _threshold(self, name: str, value: Parameter, size: tuple[int, int]) -> float:
        """Return the lowest threshold that meets a budget."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise invalid(f"parameter {name} must be a number of at least 0")
        if name == GATE_THRESHOLD_INPUT:
            return min(float(value), 1.0)  # gates are at most 1
        if self.table is None:
            model = self._deployment.path.name
            raise invalid(f"{model} has no budget table, so it takes {GATE_THRESHOLD_INPUT} but no {name}")
        try:
            gflops, milliseconds = (float(value) if name == kind else None for kind in COSTS)
            return choose(self._cached_table(size), gflops=gflops, milliseconds=milliseconds).threshold
        except UsageError as error:
            raise invalid(f"{error.message} ({error.hint})") from error

    def _minimum_threshold(self, cost_class: CostClass, size: tuple[int, int]) -> float:
        """Return the lowest threshold that a class may use."""
        if cost_class.gflops == math.inf:
            return 0.0
        name = self._deployment.path.name
        if self.table is None:
            raise Refusal(Reason.FORBIDDEN, f"{name} has no budget table, so it serves no class with a limit")
        try:
            return choose(self._cached_table(size), gflops=cost_class.gflops, worst=True).threshold
        except UsageError as error:
            raise Refusal(Reason.FORBIDDEN, f"the request's class may not use {name}: {error.message}") from error

    def expected_gflops(self, thresholds: Sequence[float], size: tuple[int, int]) -> float | None:
        """Return the mean of the table's operations / 1e9 at the samples' thresholds; None without a table."""
        if self.table is None:
            return None
        thresholds_of_table, costs = self._cached_expected(size)
        return fmean([costs[bisect_right(thresholds_of_table, threshold) - 1] for threshold in thresholds])

    def route_gflops(self, gates: NDArray[Any], size: tuple[int, int]) -> list[float]:
        """Return operations / 1e9 of each sample's route.

        Args:
            gates: float [N,paths]; a gate above 0 is open.
            size: (height, width) of the network's input in pixels.
        """
        return [self._cached_gflops(opened.tobytes(), size) for opened in gates > 0]

    def _gflops(self, opened: bytes, size: tuple[int, int]) -> float:
        costs = deployment_costs(self._deployment, size)
        return costs.of_route(Route.from_gates(costs.space, np.frombuffer(opened, np.bool_))).total / 1e9

    def _expected(self, size: tuple[int, int]) -> tuple[list[float], list[float]]:
        """Return the table's thresholds, rounded to float32, and the mean operations / 1e9 at each."""
        settings = self._cached_table(size).settings
        return [float(np.float32(s.threshold)) for s in settings], [s.gigaflops.mean for s in settings]

    def _table(self, size: tuple[int, int]) -> BudgetTable:
        assert self.table is not None
        return self.table.for_size(size)


def requested_budget(parameters: Mapping[str, Parameter], cost_class: CostClass) -> tuple[str, float] | None:
    """Return the limit of each image of the request: one of COSTS, and its value."""
    for kind in COSTS:
        if kind in parameters:
            return kind, float(parameters[kind])
    return None if cost_class.gflops == math.inf else ("gflops", cost_class.gflops)


def _check_thresholds(tensor: NDArray[Any], samples: int) -> NDArray[np.float32]:
    if tensor.dtype != np.float32 or tensor.shape not in ((samples,), (samples, 1)):
        raise invalid(f"input {GATE_THRESHOLD_INPUT} must be FP32 with one value a sample, [{samples}]")
    if not np.all(np.isfinite(tensor) & (tensor >= 0)):
        raise invalid(f"input {GATE_THRESHOLD_INPUT} must hold numbers of at least 0")
    return tensor.reshape(samples)
