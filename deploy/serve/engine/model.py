"""One model of the repository: its state, its queue, and the runtimes that empty the queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from statistics import fmean
from typing import Any

from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT, GATES_OUTPUT
from adroit.deploy.routing.budget.drift import Drift
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.serve.engine.batcher import Batcher
from adroit.deploy.serve.engine.budget import ModelBudget
from adroit.deploy.serve.engine.instance import Execution, Instance
from adroit.deploy.serve.engine.load_controller import LoadController
from adroit.deploy.serve.job import InferenceJob, Result
from adroit.deploy.serve.observe.metrics import ModelMetrics
from adroit.deploy.serve.observe.statistics import Statistics
from adroit.deploy.serve.options import ServeOptions
from adroit.deploy.serve.protocol.datatypes import datatype_from_dtype
from adroit.deploy.serve.protocol.messages import Parameter
from adroit.deploy.serve.protocol.refusal import Reason, Refusal, invalid
from adroit.errors import AdroitError

logger = logging.getLogger("adroit.serve")

PLATFORMS = {
    RuntimeName.onnxruntime: "onnxruntime_onnx",
    RuntimeName.torch: "pytorch_adroit",
    RuntimeName.tensorrt: "tensorrt_plan",
    RuntimeName.tensorrt_lean: "tensorrt_plan",
    RuntimeName.tensorrt_rtx: "tensorrt_rtx_plan",
}


class State(Enum):
    """The state of a model; FAILED: its runtime broke and could not be opened again."""

    LOADING = "LOADING"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    FAILED = "FAILED"


class Model:
    """A model, with its queue and its runtimes.

    Attributes:
        was_ready: the model was loaded once, whatever became of it: deployment, statistics and so on are known.
    """

    deployment: Deployment
    budget: ModelBudget
    statistics: Statistics
    image_datatype: str
    input_names: Sequence[str]
    output_names: Sequence[str]

    def __init__(self, folder: Path, options: ServeOptions, metrics: ModelMetrics) -> None:
        self.name = folder.name
        self.state, self.reason = State.LOADING, "it is being loaded"
        self.was_ready = False
        self.version = str(options.runtime.version or 1)
        self.platform = PLATFORMS[options.runtime.runtime]
        self.queue = Batcher(options.limits)
        self._folder, self._options, self._metrics = folder, options, metrics
        self._instances: list[Instance] = []
        self._workers: list[asyncio.Task[None]] = []
        self._drift: Drift | None = None
        metrics.watch(
            ready=lambda: float(self.ready),
            waiting=lambda: float(len(self.queue)),
            load_threshold=lambda: self.queue.load_controller.threshold if self.queue.load_controller else 0.0,
            gate_drift=lambda: self._drift.index() if self._drift else float("nan"),
        )

    @property
    def ready(self) -> bool:
        """True where the model answers requests."""
        return self.state == State.READY

    async def load(self) -> None:
        """Open every instance and run it once; then `state` and `reason` hold the result."""
        started = time.monotonic()
        try:
            self.deployment = await asyncio.to_thread(Deployment.read, self._folder)
            self.budget = ModelBudget(self.deployment)
            self._watch_budget()
            self.version = self._version()
            self.statistics = Statistics(self.name, self.version)
            self.image_datatype = datatype_from_dtype(self.deployment.info.inputs[0].dtype)
            self.input_names = [spec.name for spec in self.deployment.info.inputs]
            self.output_names = [spec.name for spec in self.deployment.info.outputs]
            for _ in range(self._options.instances):
                instance = Instance(self.deployment, self._options.runtime)
                self._instances.append(instance)
                await instance.open()
        except Exception as error:
            # A damaged deployment can make a runtime raise anything; the others of the repository serve on.
            await self._close_instances()
            self._set(State.UNAVAILABLE, error.message if isinstance(error, AdroitError) else repr(error))
            logger.error("model not loaded", extra={"model": self.name, "reason": str(error)})
            return
        self._workers = [asyncio.create_task(self._work(instance)) for instance in self._instances]
        self._set(State.READY, "")
        seconds = round(time.monotonic() - started, 3)
        logger.info("model ready", extra={"model": self.name, "version": self.version, "seconds": seconds})

    def _watch_budget(self) -> None:
        """Watch the drift of gates where there is a budget table; control load where there is a floor too."""
        table, floor = self.budget.table, self._options.floor_gflops
        if table is None:
            return
        calibrated = {setting.threshold: setting.gates for setting in table.settings if setting.gates is not None}
        self._drift = Drift(calibrated) if calibrated else None
        if floor is not None:
            self.queue.load_controller = LoadController(table, floor, self._options.instances)

    def _version(self) -> str:
        requested, runtime = self._options.runtime.version, self._options.runtime.runtime
        if requested is not None or runtime in (RuntimeName.onnxruntime, RuntimeName.torch):
            return str(requested or 1)
        from adroit.deploy.runtimes.builds import find_build

        return find_build(self.deployment, runtime.value, None)[0]

    def _set(self, state: State, reason: str) -> None:
        self.state, self.reason = state, reason
        self.was_ready |= self.ready

    async def close(self, reason: str = "it was unloaded") -> None:
        """Refuse what waits, let what runs end, and free the runtimes."""
        self._set(State.UNAVAILABLE, reason)
        self.queue.refuse_all(self.refusal())
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._close_instances()

    async def _close_instances(self) -> None:
        for instance in self._instances:
            await instance.close()
        self._instances = []

    def refusal(self) -> Refusal:
        """Return the refusal of a request while the model is not ready."""
        return Refusal(Reason.NOT_READY, f"model {self.name} is not ready: {self.reason}")

    async def run(self, job: InferenceJob) -> Result:
        """Queue `job` and wait for its answer. Raises Refusal."""
        if not self.ready:
            raise self.refusal()
        self.queue.submit(job)
        return await job.answer

    async def _work(self, instance: Instance) -> None:
        while True:
            jobs = await self.queue.next_batch()
            await self._run_batch(instance, jobs)
            if self.queue.load_controller:
                self.queue.load_controller.end(jobs)

    async def _run_batch(self, instance: Instance, jobs: Sequence[InferenceJob]) -> None:
        # Shielded: what runs while the model is closed is still answered.
        execution = instance.execute(jobs)
        try:
            done = await asyncio.shield(execution)
        except asyncio.CancelledError:
            self._answer(jobs, await execution)
            raise
        except Exception as error:
            await self._find_fault(instance, jobs, error)
        else:
            self._answer(jobs, done)

    def _answer(self, jobs: Sequence[InferenceJob], done: Execution) -> None:
        self.statistics.executed(jobs, done.times)
        self._metrics.executed(jobs, done.times)
        for job, outputs in zip(jobs, done.outputs, strict=True):
            if not job.answer.done():
                job.queue_seconds = (done.times.started - job.arrived) / 1e9
                job.execution_seconds = done.times.total / 1e9
                job.answer.set_result((outputs, self._parameters(job, outputs)))
        milliseconds = done.times.total / 1e6 / sum(job.samples for job in jobs)
        now = asyncio.get_running_loop().time()
        for job in jobs:
            if job.deadline < now:
                self._metrics.missed("deadline", 1)
            if job.budget is not None and job.budget[0] == "milliseconds" and job.budget[1] < milliseconds:
                self._metrics.missed("milliseconds", job.samples)

    def _parameters(self, job: InferenceJob, outputs: Mapping[str, NDArray[Any]]) -> dict[str, Parameter]:
        """Return the response's parameters of a network with gates: its threshold, and the operations of its routes.

        Samples with thresholds of their own are summed up by the largest threshold and the mean of the operations.
        """
        if not self.budget.gated or job.thresholds is None:
            return {}
        height, width = outputs[self.output_names[0]].shape[2:]
        thresholds, gates = job.thresholds.tolist(), outputs[GATES_OUTPUT]
        gflops = self.budget.route_gflops(gates, (height, width))
        self._metrics.routed(gflops, thresholds)
        if job.budget is not None and job.budget[0] == "gflops":
            self._metrics.missed("gflops", sum(cost > job.budget[1] for cost in gflops))
        if self._drift:
            for threshold, sample in zip(thresholds, gates, strict=True):
                self._drift.add(threshold, sample)
        parameters: dict[str, Parameter] = {GATE_THRESHOLD_INPUT: max(thresholds), "route_gflops": fmean(gflops)}
        if (expected := self.budget.expected_gflops(thresholds, (height, width))) is not None:
            parameters["expected_gflops"] = expected
        return parameters

    async def _find_fault(self, instance: Instance, jobs: Sequence[InferenceJob], error: Exception) -> None:
        """Tell a bad request from a broken runtime: one request must fail neither its batch nor a sound runtime."""
        if len(jobs) > 1:
            for job in jobs:
                await self._run_batch(instance, [job])
            return
        (job,) = jobs
        try:
            await instance.probe()
        except Exception as broken:
            _refuse(job, Refusal(Reason.FAULT, "the runtime failed"))
            await self._reopen(instance, broken)
        else:
            _refuse(job, invalid(f"the network cannot run this input: {error}"))

    async def _reopen(self, instance: Instance, error: Exception) -> None:
        """Open a broken runtime again; the model is not ready meanwhile, and FAILED where that cannot be done."""
        logger.error("runtime failed", extra={"model": self.name, "reason": str(error)})
        self._set(State.UNAVAILABLE, "its runtime failed and is opened again")
        self.queue.refuse_all(self.refusal())
        try:
            await instance.open()
        except Exception as again:
            self._set(State.FAILED, "its runtime failed and cannot be opened again")
            logger.critical("runtime lost", extra={"model": self.name, "reason": str(again)})
        else:
            self._set(State.READY, "")
            logger.warning("runtime opened again", extra={"model": self.name})


def _refuse(job: InferenceJob, refusal: Refusal) -> None:
    if not job.answer.done():
        job.answer.set_exception(refusal)
