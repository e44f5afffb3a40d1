"""Where the time goes that a routed deployment saves in operations but not in milliseconds.

Against the static form with every path open, a route with a share s of its operations would ideally
take s of its time. What it takes more is split by kind of work, each kind's excess over s times what
the static form spends on it:

- gates: RoutingGate and the operators that turn gates into decisions;
- control_flow: the If nodes themselves, that is what the run takes beyond its other nodes;
- lost_fusion: passes over maps that no convolution takes in: sums, products, copies, layout changes;
- memory_bound: convolutions and interpolation, where time does not follow operations.

The times of nodes are those of ONNX Runtime's profiler, less what the profiler itself takes a node;
that is told by the static form, which has no If: there the nodes' times must sum up to the run's.
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
    """Milliseconds by kind; together, what a run takes beyond its share of the static form's time."""

    gates: float
    control_flow: float
    lost_fusion: float
    memory_bound: float

    @property
    def total(self) -> float:
        return self.gates + self.control_flow + self.lost_fusion + self.memory_bound


def losses(
    run: OperatorTimes, milliseconds: float, static: OperatorTimes, static_milliseconds: float, share: float
) -> Losses:
    """Splits `milliseconds` - `share` * `static_milliseconds`.

    Args:
        run, static: time by operator of a run along the route and of the all-open static form.
        milliseconds, static_milliseconds: what a run takes without the profiler.
        share: the route's operations / those of the all-open one.
    """
    cost = max(0.0, (static.total - static_milliseconds) / static.nodes)
    spent, whole = _by_kind(run, cost), _by_kind(static, cost)
    excess = {kind: spent[kind] - share * whole[kind] for kind in whole}
    rest = milliseconds - share * static_milliseconds - sum(excess.values())
    return Losses(control_flow=rest, **excess)


def _by_kind(times: OperatorTimes, cost: float) -> Mapping[str, float]:
    found = {"gates": 0.0, "lost_fusion": 0.0, "memory_bound": 0.0}
    for operator, (nodes, milliseconds) in times.operators.items():
        kind = "gates" if operator in _GATES else "memory_bound" if operator in _COMPUTING else "lost_fusion"
        found[kind] += max(0.0, milliseconds - cost * nodes)
    return found
