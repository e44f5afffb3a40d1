"""What the benchmarks share: one-node sessions, interleaved medians, the results file."""

from __future__ import annotations

import importlib.metadata
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from deploy.operators import DOMAIN, operators
from deploy.profile.timing import machine_facts
from deploy.runtimes.native import instruction_set, native_library
from models import files

RESULTS = Path(__file__).parent / "results"


def node_session(
    operator: str,
    inputs: Mapping[str, np.ndarray],
    feed: str,
    attributes: Mapping[str, Any],
    output: int = onnx.TensorProto.FLOAT,
    threads: int = 1,
) -> Callable[[], object]:
    """A call of one operator in ONNX Runtime; all inputs but `feed` are constants, `output` is Y's type."""
    custom = operator in operators()
    node = helper.make_node(operator, list(inputs), ["Y"], domain=DOMAIN if custom else "", **attributes)
    x = inputs[feed]
    graph = helper.make_graph(
        [node],
        "one_node",
        [helper.make_tensor_value_info(feed, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_tensor_value_info("Y", output, None)],
        [numpy_helper.from_array(v, k) for k, v in inputs.items() if k != feed],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.register_custom_ops_library(str(native_library()))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {feed: x})


def interleaved_medians(
    calls: Mapping[str, Callable[[], object]], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median milliseconds of each call, of interleaved_samples."""
    return {name: median(s) for name, s in interleaved_samples(calls, seconds, clock).items()}


def interleaved_samples(
    calls: Mapping[str, Callable[[], object]], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Milliseconds of every run of each call; they take turns, each at least 3 times and for `seconds`.

    On a busy machine a call longer than the scheduler's slice is interrupted in every run and a short one
    in few, which flatters the short one. `time.thread_time` as the clock leaves that out, for calls that
    work in the calling thread alone.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    while any(sum(s) < seconds or len(s) < 3 for s in samples.values()):
        for name, call in calls.items():
            if sum(samples[name]) < seconds or len(samples[name]) < 3:
                start = clock()
                call()
                samples[name].append(clock() - start)
    return {name: [duration * 1e3 for duration in s] for name, s in samples.items()}


def keep_results(name: str, command: str, rows: list[dict[str, Any]]) -> None:
    """Writes benchmarks/results/<name>.json with the machine, versions and the command that reproduces it."""
    versions = {p: importlib.metadata.version(p) for p in ("torch", "onnxruntime", "numpy")}
    facts = {**machine_facts(), "instruction_set": instruction_set(native_library())}
    files.write_json(
        RESULTS / f"{name}.json", {"command": command, "machine": facts, "versions": versions, "rows": rows}
    )
    print(f"kept in {RESULTS / f'{name}.json'}", file=sys.stderr)
