"""Splits the time that a routed deployment saves in operations but not in milliseconds.

Against the static form with every path open, a route with a share s of its operations would ideally
take s of its time. The excess is split by kind of work; for each kind it is the time spent less s times the time
that the static form spends:

- gates: RoutingGate and the operators that turn gates into decisions;
- control_flow: the If nodes themselves, that is the time of the run beyond that of its other nodes;
- lost_fusion: passes over maps that no convolution takes in: sums, products, copies, layout changes;
- memory_bound: convolutions and interpolation, where time does not follow operations.

The times of nodes are those of ONNX Runtime's profiler, less the profiler's own time for a node. The static form,
which has no If, gives that: there the times of the nodes must sum up to that of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adroit.deploy.measure.nodes import OperatorTimes

_GATES = {"RoutingGate", "RoutingDecision", "Split", "Slice", "Unsqueeze", "Concat", "Or", "And", "Greater", "Shape"}
_GATES |= {"GreaterOrEqual", "ReduceSum", "Squeeze", "Reshape", "Div", "Cast"}
_COMPUTING = {"Conv", "FusedConv", "Upsample", "Resize", "BilinearUpsample", "MaxPool"}


@dataclass(frozen=True)
class Losses:
    """Milliseconds by kind; their sum is the time of a run beyond its share of the static form's."""

    gates: float
    control_flow: float
    lost_fusion: float
    memory_bound: float

    @property
    def total(self) -> float:
        """Milliseconds of all kinds together."""
        return self.gates + self.control_flow + self.lost_fusion + self.memory_bound


def losses(
    run: OperatorTimes, milliseconds: float, static: OperatorTimes, static_milliseconds: float, share: float
) -> Losses:
    """Splits `milliseconds` - `share` * `static_milliseconds`.

    Args:
        run, static: time by operator of a run along the route and of the all-open static form.
        milliseconds, static_milliseconds: time of a run without the profiler.
        share: the route's operations / those of the all-open one.
    """
    cost = max(0.0, (static.total - static_milliseconds) / static.nodes)
    spent, whole = _by_kind(run, cost), _by_kind(static, cost)
    excess = {kind: spent[kind] - share * whole[kind] for kind in whole}
    rest = milliseconds - share * static_milliseconds - sum(excess.values())
    return Losses(control_flow=rest, **excess)


def _by_kind(times: OperatorTimes, cost: float) -> Mapping[str, float]:
    totals = {"gates": 0.0, "lost_fusion": 0.0, "memory_bound": 0.0}
    for operator, (nodes, milliseconds) in times.operators.items():
        kind = "gates" if operator in _GATES else "memory_bound" if operator in _COMPUTING else "lost_fusion"
        totals[kind] += max(0.0, milliseconds - cost * nodes)
    return totals
