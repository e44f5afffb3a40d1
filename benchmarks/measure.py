"""Shared by the benchmarks: one-node sessions, interleaved medians, the results file."""

from __future__ import annotations

import importlib.metadata
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from adroit import files
from adroit.deploy.measure.timing import machine_facts
from adroit.deploy.operators.definitions import DOMAIN, operators
from adroit.deploy.runtimes.native import instruction_set, native_library

RESULTS = Path(__file__).parent / "results"


Clock = Callable[[], float]
# Seconds of one run, by the clock.
Sample = Callable[[Clock], float]


@dataclass(frozen=True)
class Timing:
    """Milliseconds: the median of all runs, and the quartiles."""

    median: float
    low: float
    high: float


def node_session(
    operator: str,
    inputs: Mapping[str, np.ndarray],
    feed: str,
    attributes: Mapping[str, Any],
    output: int = onnx.TensorProto.FLOAT,
    threads: int = 1,
    copies: int = 1,
) -> Callable[[], object]:
    """Returns a call of `copies` nodes of one operator in ONNX Runtime, in memory allocated beforehand.

    All inputs but `feed` are constants, which every node has for itself; `output` is the type of Y, the first output.
    """
    custom = operator in operators()
    nodes, constants = [], []
    for i in range(copies):
        names = [k if k == feed else f"{k}{i}" for k in inputs]
        outputs = [f"Y{i}"] + [f"{o.name}{i}" for o in (operators()[operator].outputs[1:] if custom else [])]
        nodes.append(helper.make_node(operator, names, outputs, domain=DOMAIN if custom else "", **attributes))
        constants += [numpy_helper.from_array(v, f"{k}{i}") for k, v in inputs.items() if k != feed]
    x = inputs[feed]
    graph = helper.make_graph(
        nodes,
        "nodes",
        [helper.make_tensor_value_info(feed, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_tensor_value_info(f"Y{i}", output, None) for i in range(copies)],
        constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.register_custom_ops_library(str(native_library()))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input(feed, onnxruntime.OrtValue.ortvalue_from_numpy(x))
    for i, y in enumerate(session.run(None, {feed: x})):
        binding.bind_ortvalue_output(f"Y{i}", onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros_like(y)))
    return lambda: session.run_with_iobinding(binding)


def run_time(call: Callable[[], object]) -> Sample:
    """Returns a sample of the time of a call."""

    def sample(clock: Clock) -> float:
        start = clock()
        call()
        return clock() - start

    return sample


def node_time(
    operator: str,
    inputs: Mapping[str, np.ndarray],
    feed: str,
    attributes: Mapping[str, Any],
    output: int = onnx.TensorProto.FLOAT,
    threads: int = 1,
    more: int = 4,
) -> Sample:
    """Returns a sample of the time of one more node in a graph: calling a session takes several microseconds.

    A graph of one node and one of 1 + `more`; their difference, by `more`. As in a network, each node's
    weights have left the nearer caches when their turn comes.
    """
    one, many = (
        run_time(node_session(operator, inputs, feed, attributes, output, threads, copies)) for copies in (1, 1 + more)
    )
    return lambda clock: (many(clock) - one(clock)) / more


def interleaved_timings(
    samples: Mapping[str, Sample], seconds: float, clock: Clock = time.perf_counter
) -> dict[str, Timing]:
    """Takes turns until each sample was taken 5 times and for `seconds` (of the wall), up to 3 times that long."""
    durations: dict[str, list[float]] = {name: [] for name in samples}
    spent = dict.fromkeys(samples, 0.0)
    for sample in samples.values():
        sample(clock)
    while unfinished := [
        n for n in samples if spent[n] < seconds or (len(durations[n]) < 5 and spent[n] < 3 * seconds)
    ]:
        for name in unfinished:
            start = time.perf_counter()
            durations[name].append(samples[name](clock))
            spent[name] += time.perf_counter() - start
    return {n: Timing(*(float(np.quantile(v, q)) * 1e3 for q in (0.5, 0.25, 0.75))) for n, v in durations.items()}


def interleaved_medians(
    calls: Mapping[str, Callable[[], object]], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Measures the median milliseconds of each call, as interleaved_samples."""
    return {name: median(s) for name, s in interleaved_samples(calls, seconds, clock).items()}


def interleaved_samples(
    calls: Mapping[str, Callable[[], object]], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Measures the milliseconds of every run of calls that take turns, each at least 3 times and for `seconds`.

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
    print(f"written to {RESULTS / f'{name}.json'}", file=sys.stderr)
