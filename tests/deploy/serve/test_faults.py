"""A runtime that fails: one bad request harms no other, and a broken runtime shows in the health."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.runtimes.runtime import Runtime
from adroit.deploy.serve.engine import instance
from adroit.deploy.serve.engine.model import Model, State
from adroit.deploy.serve.engine.repository import Repository
from adroit.deploy.serve.job import InferenceJob
from adroit.deploy.serve.observe.metrics import Metrics
from adroit.deploy.serve.options import ServeOptions
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from adroit.errors import UsageError


class Fragile(Runtime):
    """A runtime that answers with the mean of every image; `before` runs first."""

    name = "fragile"
    facts: ClassVar[dict[str, Any]] = {}

    def __init__(self, deployment: Deployment, before: Callable[[np.ndarray], None]) -> None:
        self.inputs, self.outputs = deployment.info.inputs, deployment.info.outputs
        self._before = before

    def _run(self, feeds: Tensors) -> dict[str, np.ndarray]:
        self._before(feeds["image"])
        return {"logits": np.repeat(feeds["image"].mean((1, 2, 3))[:, None], 10, 1)}


def job(value: float) -> InferenceJob:
    image = np.full((1, 1, 32, 32), value, np.float32)
    return InferenceJob(image, None, asyncio.get_running_loop().time() + 3600)


def serve(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, before: Callable[[np.ndarray], None],
    check: Callable[[Repository, Model], Coroutine[Any, Any, None]], opened: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Run `check` on a repository with that one model, whose runtime is a Fragile one."""

    def open_runtime(deployment: Deployment, _: Any) -> Runtime:
        opened()
        return Fragile(deployment, before)

    monkeypatch.setattr(instance, "open_runtime", open_runtime)

    async def run() -> None:
        repository = Repository(ServeOptions(deployment.path), Metrics())
        await repository.load_all()
        await check(repository, repository.find(deployment.path.name))
        await repository.close()

    asyncio.run(asyncio.wait_for(run(), 250))


def test_a_request_that_the_network_cannot_run_fails_alone(
    lenet_deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[int] = []

    def before(images: np.ndarray) -> None:
        executed.append(len(images))
        if (images == 13).any():
            raise UsageError("thirteen")

    async def check(repository: Repository, model: Model) -> None:
        jobs = [job(value) for value in (1, 13, 2)]
        ends = await asyncio.gather(*(model.run(each) for each in jobs), return_exceptions=True)
        assert isinstance(ends[1], Refusal)
        assert (ends[1].reason, "thirteen" in ends[1].text) == (Reason.INVALID, True)
        assert [ends[i][0]["logits"][0, 0] for i in (0, 2)] == [1, 2]
        assert executed == [1, 3, 1, 1, 1, 1]  # at loading; all; the first, the bad one, a probe, the last
        assert repository.ready

    serve(lenet_deployment, monkeypatch, before, check)


def test_a_runtime_that_breaks_is_opened_again(lenet_deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = False
    seen: list[tuple[State, bool]] = []

    def before(images: np.ndarray) -> None:
        nonlocal broken
        broken |= bool((images == 13).any())
        if broken:
            raise RuntimeError("the device is lost")

    async def check(repository: Repository, model: Model) -> None:
        def opened() -> None:
            nonlocal broken
            seen.append((model.state, repository.ready))
            broken = False

        opening.append(opened)
        with pytest.raises(Refusal) as refused:
            await model.run(job(13))
        assert refused.value.reason == Reason.FAULT
        assert "device" not in refused.value.text
        while not model.ready:
            await asyncio.sleep(0.01)
        assert seen == [(State.UNAVAILABLE, False)]
        assert (repository.ready, repository.live) == (True, True)
        assert (await model.run(job(2)))[0]["logits"][0, 0] == 2

    opening: list[Callable[[], None]] = []
    serve(lenet_deployment, monkeypatch, before, check, lambda: [each() for each in opening] and None)


def test_a_runtime_that_is_lost_turns_health_red(lenet_deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = False

    def before(images: np.ndarray) -> None:
        nonlocal broken
        broken |= bool((images == 13).any())
        if broken:
            raise RuntimeError("the device is lost")

    async def check(repository: Repository, model: Model) -> None:
        jobs = [job(value) for value in (13, 13)]
        waiting = [asyncio.create_task(model.run(each)) for each in jobs]
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert {end.reason for end in ends if isinstance(end, Refusal)} <= {Reason.FAULT, Reason.NOT_READY}
        while model.state != State.FAILED:
            await asyncio.sleep(0.01)
        assert (repository.ready, repository.live) == (False, False)
        with pytest.raises(Refusal) as refused:
            await model.run(job(1))
        assert refused.value.reason == Reason.NOT_READY
        (indexed,) = repository.index(False)
        assert (indexed.state, "runtime" in indexed.reason) == ("UNAVAILABLE", True)

    serve(lenet_deployment, monkeypatch, before, check)


def test_a_model_that_loads_and_cannot_run_is_not_ready(
    lenet_deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def before(_: np.ndarray) -> None:
        raise RuntimeError("no kernel")

    async def check(repository: Repository, model: Model) -> None:
        assert (model.state, "no kernel" in model.reason) == (State.UNAVAILABLE, True)
        assert (repository.ready, repository.live) == (False, True)

    serve(lenet_deployment, monkeypatch, before, check)
