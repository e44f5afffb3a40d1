"""Where the time of one run goes, node by node, from ONNX Runtime's own profiler."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path

from deploy.entry import Entry
from deploy.runtimes.base import Tensors
from deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from deploy.runtimes.open import RuntimeOptions

RUNS = 20


def node_milliseconds(entry: Entry, options: RuntimeOptions, feeds: Tensors) -> dict[str, float]:
    """Mean milliseconds of each node over RUNS runs, after as many to warm up.

    ONNX Runtime renames nodes that it fuses, and nodes inside an expanded body are added up under
    no name of the graph: only nodes that keep their name appear.
    """
    with tempfile.TemporaryDirectory() as folder:
        runtime = OnnxRuntime(entry.load_model(), options, bool(entry.info.operators), str(Path(folder) / "profile"))
        for _ in range(2 * RUNS):
            runtime.run(feeds)
        events = json.loads(Path(runtime.end_profiling()).read_text())
    durations: dict[str, list[float]] = defaultdict(list)
    for event in events:
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            durations[name.removesuffix("_kernel_time")].append(event["dur"] / 1e3)
    return {name: sum(values[-RUNS:]) / RUNS for name, values in durations.items() if len(values) >= 2 * RUNS}
