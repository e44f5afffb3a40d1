"""The metrics of a server, in Prometheus' format."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from adroit.deploy.serve.job import ExecutionTimes, InferenceJob

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SAMPLES = (1, 2, 4, 8, 16, 32, 64)
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_GFLOPS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0)


class Metrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        model = ["model"]
        # Looking up a label's values costs as much as counting.
        self._requests = functools.cache(lambda *labels: self.requests.labels(*labels))
        self._seconds = functools.cache(lambda *labels: self.seconds.labels(*labels))
        self.requests = Counter(
            "adroit_requests",
            "Requests for inference by how they ended",
            [*model, "protocol", "end"],
            registry=registry,
        )
        self.seconds = Histogram(
            "adroit_request_seconds", "Time in the server of answered requests", [*model, "protocol"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.queued = Histogram("adroit_queue_seconds", "Time waited", model, buckets=_SECONDS, registry=registry)
        self.computed = Histogram(
            "adroit_execution_seconds", "Time of executions", model, buckets=_SECONDS, registry=registry
        )
        self.runtime_cpu = Counter(
            "adroit_runtime_cpu_seconds",
            "CPU time of preprocessing and runtime, in the threads that run them; a runtime's own threads not counted",
            model,
            registry=registry,
        )
        self.samples = Histogram(
            "adroit_batch_samples", "Samples an execution", model, buckets=_SAMPLES, registry=registry
        )
        self.gflops = Histogram(
            "adroit_route_gflops", "Operations / 1e9 of the samples' routes", model, buckets=_GFLOPS, registry=registry
        )
        self.thresholds = Histogram(
            "adroit_gate_threshold", "Gate threshold of the samples", model, buckets=_SHARES, registry=registry
        )
        self.missed = Counter(
            "adroit_budget_misses",
            "Samples that cost more than the budget they were to be held to (gflops, milliseconds),"
            " and requests answered too late (deadline)",
            [*model, "budget"],
            registry=registry,
        )
        self.load_threshold = Gauge(
            "adroit_load_threshold", "Gate threshold to which load holds requests", model, registry=registry
        )
        self.drift = Gauge(
            "adroit_gate_drift",
            "Population stability index of the last images' gates against the calibration's; NaN before there are 32",
            model,
            registry=registry,
        )
        self.ready = Gauge("adroit_model_ready", "1 where the model is ready", model, registry=registry)
        self.waiting = Gauge("adroit_queue_requests", "Requests that wait", model, registry=registry)
        self.pending = Gauge("adroit_pending_bytes", "Bytes of requests received and not answered", registry=registry)

    def of_model(self, name: str) -> ModelMetrics:
        """Return the metrics of one model."""
        return ModelMetrics(self, name)

    def ended(self, model: str, protocol: str, end: str, seconds: float) -> None:
        """Count a request for inference.

        Args:
            model: the name of a model of the repository, or "".
            end: "ok", "CANCELLED" or the name of a Reason.
        """
        self._requests(model, protocol, end).inc()
        if end == "ok":
            self._seconds(model, protocol).observe(seconds)


class ModelMetrics:
    """The metrics of one model."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics, self._name = metrics, name
        self._queued, self._computed = metrics.queued.labels(name), metrics.computed.labels(name)
        self._samples, self._runtime_cpu = metrics.samples.labels(name), metrics.runtime_cpu.labels(name)
        self._gflops, self._thresholds = metrics.gflops.labels(name), metrics.thresholds.labels(name)

    def watch(
        self,
        *,
        ready: Callable[[], float],
        waiting: Callable[[], float],
        load_threshold: Callable[[], float],
        gate_drift: Callable[[], float],
    ) -> None:
        """Set the functions that return present values."""
        self._metrics.ready.labels(self._name).set_function(ready)
        self._metrics.waiting.labels(self._name).set_function(waiting)
        self._metrics.load_threshold.labels(self._name).set_function(load_threshold)
        self._metrics.drift.labels(self._name).set_function(gate_drift)

    def executed(self, jobs: Sequence[InferenceJob], times: ExecutionTimes) -> None:
        """Count an execution of `jobs`."""
        self._samples.observe(sum(job.samples for job in jobs))
        self._computed.observe(times.total / 1e9)
        self._runtime_cpu.inc(times.runtime_cpu / 1e9)
        for job in jobs:
            self._queued.observe((times.started - job.arrived) / 1e9)

    def missed(self, budget: str, count: int) -> None:
        """Count samples ("gflops", "milliseconds") or requests ("deadline") that missed their budget."""
        self._metrics.missed.labels(self._name, budget).inc(count)

    def routed(self, gflops: Sequence[float], thresholds: Sequence[float]) -> None:
        """Count operations / 1e9 and the threshold of every sample of one request."""
        for cost, threshold in zip(gflops, thresholds, strict=True):
            self._gflops.observe(cost)
            self._thresholds.observe(threshold)
