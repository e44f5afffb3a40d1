"""The time of every node of a run, from ONNX Runtime's own profiler."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
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


def operator_times(model: OnnxRuntime, feeds: Tensors) -> OperatorTimes:
    """Averages RUNS runs of a session that was opened with a profile; it cannot be profiled again."""
    events = _events(model, feeds)
    totals: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for event in events:
        operator = event["args"].get("op_name", "")
        if operator != "If":
            nodes, milliseconds = totals[operator]
            totals[operator] = (nodes + 1 / RUNS, milliseconds + event["dur"] / 1e3 / RUNS)
    return OperatorTimes(dict(totals))


def node_milliseconds(deployment: Deployment, options: RuntimeOptions, feeds: Tensors) -> dict[str, float]:
    """Returns the mean milliseconds of each node over RUNS runs, after as many to warm up.

    ONNX Runtime renames nodes that it fuses, and nodes inside an expanded body are added up under
    no name of the graph: only nodes that keep their name appear.
    """
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "profile")
        runtime = OnnxRuntime(deployment.load_model(), options, bool(deployment.info.operators), prefix)
        events = _events(runtime, feeds)
    durations: dict[str, list[float]] = defaultdict(list)
    for event in events:
        durations[event["name"].removesuffix(_KERNEL)].append(event["dur"] / 1e3)
    return {name: sum(values) / RUNS for name, values in durations.items() if len(values) == RUNS}


def _events(runtime: OnnxRuntime, feeds: Tensors) -> list[dict[str, Any]]:
    """Returns the profiler's event of each node in each of RUNS runs, after as many to warm up."""
    for _ in range(2 * RUNS):
        runtime.run(feeds)
    events = json.loads(Path(runtime.end_profiling()).read_text())
    starts = [event["ts"] for event in events if event.get("name") == "model_run"]
    return [e for e in events if e.get("cat") == "Node" and e["name"].endswith(_KERNEL) and e["ts"] >= starts[RUNS]]
