"""The statistics of one model that the protocol defines."""

from __future__ import annotations

import time
from collections.abc import Sequence

from adroit.deploy.serve.job import ExecutionTimes, InferenceJob
from adroit.deploy.serve.protocol.messages import BatchStatistics, Duration, InferenceStatistics, ModelStatistics


def _add(total: Duration, nanoseconds: int, count: int = 1) -> None:
    total.count += count
    total.ns += nanoseconds * count


class Statistics:
    """Counts and times since the model was loaded."""

    def __init__(self, name: str, version: str) -> None:
        self._batches: dict[int, BatchStatistics] = {}
        durations = {field: Duration() for field in InferenceStatistics.__struct_fields__}
        self._total = ModelStatistics(name, version, 0, 0, 0, InferenceStatistics(**durations), [])

    @property
    def message(self) -> ModelStatistics:
        """The protocol's message."""
        self._total.batch_stats = [self._batches[size] for size in sorted(self._batches)]
        return self._total

    def executed(self, jobs: Sequence[InferenceJob], times: ExecutionTimes) -> None:
        """Count a batch that ran; each of its requests spent the batch's time."""
        samples = sum(job.samples for job in jobs)
        self._total.last_inference = time.time_ns() // 1_000_000
        self._total.inference_count += samples
        self._total.execution_count += 1
        stats = self._total.inference_stats
        batch = self._batches.setdefault(samples, BatchStatistics(samples, Duration(), Duration(), Duration()))
        for name in ("compute_input", "compute_infer", "compute_output"):
            _add(getattr(stats, name), getattr(times, name), len(jobs))
            _add(getattr(batch, name), getattr(times, name))
        arrived, now = sum([job.arrived for job in jobs]), time.perf_counter_ns()
        for total, until in ((stats.queue, times.started), (stats.success, now)):
            total.count += len(jobs)
            total.ns += until * len(jobs) - arrived

    def failed(self, nanoseconds: int) -> None:
        """Count a request that got no tensors, and the nanoseconds that it took."""
        _add(self._total.inference_stats.fail, nanoseconds)
