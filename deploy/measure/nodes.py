"""The time of every node of a run, from ONNX Runtime's own profiler."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions

RUNS = 20
_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class OperatorTimes:
    """The nodes of each operator that ran in one run, and their milliseconds, the profiler's own time included.

    Nodes inside branches count; If nodes, whose time is that of their branches, do not.
    """

    operators: Mapping[str, tuple[float, float]]

    @property
    def nodes(self) -> float:
        """The number of nodes that ran."""
        return sum(nodes for nodes, _ in self.operators.values())

    @property
    def total(self) -> float:
        """Milliseconds of all nodes."""
        return sum(milliseconds for _, milliseconds in self.operators.values())


@dataclass(frozen=True)
class NodeTimes:
    """What nodes take of one run, on average.

    Attributes:
        milliseconds: of each node that ONNX Runtime keeps under its name; an If, Loop or Scan has its bodies' time.
        run: of the whole run under the profiler, to which the nodes' compare; 0 where nothing was profiled.
    """

    milliseconds: Mapping[str, float] = field(default_factory=dict)
    run: float = 0.0

    def share(self, node: str) -> float | None:
        """The node's share of the run, 0 to 1; None where its time is not known."""
        spent = self.milliseconds.get(node)
        return None if spent is None or not self.run else spent / self.run


def operator_times(model: OnnxRuntime, feeds: Tensors) -> OperatorTimes:
    """Averages RUNS runs of a session that was opened with a profile; it cannot be profiled again."""
    events, _ = _events(model, feeds)
    totals: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for event in events:
        operator = event["args"].get("op_name", "")
        if operator != "If":
            nodes, milliseconds = totals[operator]
            totals[operator] = (nodes + 1 / RUNS, milliseconds + event["dur"] / 1e3 / RUNS)
    return OperatorTimes(dict(totals))


def node_times(deployment: Deployment, options: RuntimeOptions, feeds: Tensors) -> NodeTimes:
    """Measures the mean milliseconds of each node over RUNS runs, after as many to warm up.

    ONNX Runtime renames nodes that it fuses, and nodes inside an expanded body are added up under
    no name of the graph: only nodes that keep their name appear.
    """
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "profile")
        runtime = OnnxRuntime(deployment.load_model(), options, bool(deployment.info.operators), prefix)
        events, runs = _events(runtime, feeds)
    durations: dict[str, list[float]] = defaultdict(list)
    for event in events:
        durations[event["name"].removesuffix(_KERNEL)].append(event["dur"] / 1e3)
    milliseconds = {name: sum(values) / RUNS for name, values in durations.items() if len(values) == RUNS}
    return NodeTimes(milliseconds, sum(runs) / RUNS)


def _events(runtime: OnnxRuntime, feeds: Tensors) -> tuple[list[dict[str, Any]], list[float]]:
    """Returns the profiler's event of each node in each of RUNS runs, and each run's milliseconds.

    As many runs warm up.
    """
    for _ in range(2 * RUNS):
        runtime.run(feeds)
    events = json.loads(Path(runtime.end_profiling()).read_text())
    runs = [event for event in events if event.get("name") == "model_run"][RUNS:]
    start = runs[0]["ts"]
    nodes = [e for e in events if e.get("cat") == "Node" and e["name"].endswith(_KERNEL) and e["ts"] >= start]
    return nodes, [event["dur"] / 1e3 for event in runs]
