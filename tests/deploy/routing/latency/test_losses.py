"""The losses of skipping add up, and each lands with its kind."""

from __future__ import annotations

import pytest

from adroit.deploy.measure.nodes import OperatorTimes
from adroit.deploy.routing.latency.losses import losses

# The static form: 100 nodes, 10 ms of work, and 0.02 ms of the profiler's own a node.
STATIC = OperatorTimes({"Conv": (60.0, 7.0 + 1.2), "Add": (30.0, 2.0 + 0.6), "RoutingGate": (10.0, 1.0 + 0.2)})


def along(conv: float = 3.5, add: float = 1.0, gate: float = 0.5) -> OperatorTimes:
    return OperatorTimes({"Conv": (30.0, conv + 0.6), "Add": (15.0, add + 0.3), "RoutingGate": (10.0, gate + 0.2)})


def test_a_route_that_takes_its_share_loses_nothing() -> None:
    result = losses(along(), 5.0, STATIC, 10.0, 0.5)
    assert [result.gates, result.control_flow, result.lost_fusion, result.memory_bound] == pytest.approx([0] * 4)


@pytest.mark.parametrize(
    ("run", "milliseconds", "kind"),
    [
        (along(gate=1.0), 5.5, "gates"),
        (along(add=1.5), 5.5, "lost_fusion"),
        (along(conv=4.0), 5.5, "memory_bound"),
        (along(), 5.5, "control_flow"),
    ],
)
def test_each_excess_lands_with_its_kind(run: OperatorTimes, milliseconds: float, kind: str) -> None:
    result = losses(run, milliseconds, STATIC, 10.0, 0.5)
    assert getattr(result, kind) == pytest.approx(0.5)
    assert result.total == pytest.approx(milliseconds - 0.5 * 10.0)
