"""Timing on a GPU: graph replays between events, over so many copies of the data that no cache holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

# Bytes that the copies of one call's data should take together: several times any GPU's second-level cache.
ROTATION_BYTES = 512 * 2**20
REPLAYS, CALLS_PER_GRAPH = 15, 20


def copies_for(bytes_of_a_call: int) -> int:
    """Returns the number of copies of a call's data to rotate among."""
    return max(1, min(CALLS_PER_GRAPH, -(-ROTATION_BYTES // max(1, bytes_of_a_call))))


def microseconds(calls: Sequence[Callable[[], Any]]) -> float:
    """Median time of one call on the GPU, launch gaps as small as a graph makes them.

    The calls do the same on different data and take turns.
    """
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls:
            call()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for i in range(CALLS_PER_GRAPH):
                calls[i % len(calls)]()
        times = []
        for _ in range(REPLAYS + 3):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record(stream)
            graph.replay()
            end.record(stream)
            end.synchronize()
            times.append(start.elapsed_time(end) * 1e3 / CALLS_PER_GRAPH)
    return median(times[3:])
