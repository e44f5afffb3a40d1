"""The metrics of budgets: misses, the threshold under load, and gates that drift."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import GATES_OUTPUT
from adroit.deploy.deployment.routed import routing_space
from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.deployment.writer import write_description
from adroit.deploy.routing.budget.drift import MINIMUM_IMAGES, gate_counts
from adroit.deploy.routing.budget.table import read_table
from adroit.deploy.runtimes.runtime import Runtime
from adroit.deploy.serve.engine import instance
from adroit.deploy.serve.engine.model import Model
from adroit.deploy.serve.engine.repository import Repository
from adroit.deploy.serve.job import InferenceJob
from adroit.deploy.serve.observe.metrics import Metrics
from adroit.deploy.serve.options import Limits, ServeOptions

SIZE = (128, 160)
Check = Callable[[Model, "Stub"], Coroutine[Any, Any, None]]


class Stub:
    """The gates that the runtime answers with, what it does first, and the metrics."""

    def __init__(self, paths: int) -> None:
        self.gates = np.full(paths, 0.5, np.float32)
        self.before: Callable[[], object] = lambda: None
        self.metrics = Metrics()

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"model": "routed", **labels}) or 0.0


class Gated(Runtime):
    """A runtime that answers zeros along the route of the stub."""

    name = "gated"
    facts: dict[str, Any] = {}  # noqa: RUF012  (as the base class has it)

    def __init__(self, deployment: Deployment, stub: Stub) -> None:
        self.inputs, self.outputs = deployment.info.inputs, deployment.info.outputs
        self._stub = stub

    def _run(self, feeds: Tensors) -> dict[str, np.ndarray]:
        self._stub.before()
        count, _, height, width = feeds["image"].shape
        return {
            "logits": np.zeros((count, 11, height, width), np.float32),
            GATES_OUTPUT: np.tile(self._stub.gates, (count, 1)),
        }


@pytest.fixture
def served(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Return a function that runs a check on the `routed` model, calibrated on gates of 0.5 throughout."""

    def serve(check: Check, **options: Any) -> None:
        deployment = Deployment.read(repository / "routed")
        stub = Stub(len(routing_space(deployment).paths))
        counts = gate_counts(stub.gates).tolist()
        table = read_table(deployment)
        settings = tuple(msgspec.structs.replace(setting, gates=counts) for setting in table.settings)
        (tmp_path / "routed").mkdir()
        budget = msgspec.structs.replace(table, settings=settings)
        write_description(tmp_path / "routed", msgspec.structs.replace(deployment.info, budget=budget))
        monkeypatch.setattr(instance, "open_runtime", lambda deployment, _: Gated(deployment, stub))

        async def run() -> None:
            models = Repository(ServeOptions(tmp_path, **options), stub.metrics)
            await models.load_all()
            model = models.find("routed")
            assert model.ready, model.reason
            await check(model, stub)
            await models.close()

        asyncio.run(asyncio.wait_for(run(), 5000))  # one of the tests moves the clock by 4000

    return serve


def job(budget: tuple[str, float] | None = None, threshold: float = 0.0, seconds: float = 3600.0) -> InferenceJob:
    thresholds = np.full(2, threshold, np.float32)
    deadline = asyncio.get_running_loop().time() + seconds
    return InferenceJob(np.zeros((2, *SIZE, 3), np.uint8), thresholds, deadline, budget=budget)


def test_what_misses_its_budget_is_counted(served: Callable[..., None]) -> None:
    async def check(model: Model, stub: Stub) -> None:
        def missed(kind: str) -> float:
            return stub.value("adroit_budget_misses_total", budget=kind)

        _, parameters = await model.run(job())
        cost = float(parameters["route_gflops"])
        await model.run(job(("gflops", cost * 1.01)))
        await model.run(job(("milliseconds", 1e9)))
        assert [missed(kind) for kind in ("gflops", "milliseconds", "deadline")] == [0, 0, 0]
        await model.run(job(("gflops", cost * 0.99)))
        assert [missed(kind) for kind in ("gflops", "milliseconds", "deadline")] == [2, 0, 0]
        await model.run(job(("milliseconds", 0.0)))
        assert [missed(kind) for kind in ("gflops", "milliseconds", "deadline")] == [2, 2, 0]
        loop = asyncio.get_running_loop()
        late, clock = [0.0], loop.time
        loop.time = lambda: clock() + late[0]  # type: ignore[method-assign]
        stub.before = lambda: late.__setitem__(0, 4000.0)  # its turn came in time
        await model.run(job())
        assert [missed(kind) for kind in ("gflops", "milliseconds", "deadline")] == [2, 2, 1]

    served(check)


def test_gates_that_read_otherwise_show_as_drift(served: Callable[..., None]) -> None:
    async def check(model: Model, stub: Stub) -> None:
        async def ask(count: int, threshold: float = 0.0) -> float:
            for _ in range(count // 2):
                await model.run(job(threshold=threshold))
            return stub.value("adroit_gate_drift")

        assert math.isnan(await ask(MINIMUM_IMAGES - 2))
        assert await ask(2) < 0.01
        stub.gates = np.full_like(stub.gates, 0.9)
        assert await ask(2, threshold=0.123) < 0.01  # no setting of the table: not known how gates should read
        assert await ask(100, threshold=1.0) > 0.25

    served(check)


def test_the_threshold_that_load_requires_is_a_metric(served: Callable[..., None]) -> None:
    async def check(model: Model, stub: Stub) -> None:
        load_controller = model.queue.load_controller
        assert load_controller is not None

        def demanding(seconds: float) -> InferenceJob:
            result = job(seconds=seconds)
            result.target = result.deadline
            # As a machine that needs a year for the trained network and no time for the floor.
            result.seconds = (3e7, 3e7, 1e-9)
            return result

        relaxed = demanding(3600.0)
        relaxed.seconds = (1e-9, 1e-9, 1e-9)
        await model.run(relaxed)
        assert stub.value("adroit_load_threshold") == 0.0
        _, parameters = await model.run(demanding(3600.0))
        assert parameters["gate_threshold"] == 1.0
        assert stub.value("adroit_load_threshold") == 1.0
        assert stub.value("adroit_gate_threshold_sum") == 2.0

    served(check, floor_gflops=0.1, limits=Limits(batch=2))
