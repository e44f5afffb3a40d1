"""The state that both protocols answer from: models, limits, worker threads, shared memory, metrics."""

from __future__ import annotations

import asyncio
import hmac
import os
import time
from dataclasses import dataclass, field

from adroit.deploy.serve.engine.inference import Inference, InferenceResult, WorkerPool, infer
from adroit.deploy.serve.engine.memory import PendingMemory
from adroit.deploy.serve.engine.model import Model
from adroit.deploy.serve.engine.repository import Repository
from adroit.deploy.serve.engine.shared_memory import SharedMemory
from adroit.deploy.serve.observe.metrics import Metrics
from adroit.deploy.serve.options import ServeOptions
from adroit.deploy.serve.protocol.refusal import Refusal


@dataclass(slots=True)
class TrackedRequest:
    """A context around one request for inference: counts how it ends, and how long it took.

    Attributes:
        model: the model that it is for; set once it is known.
    """

    metrics: Metrics
    protocol: str
    model: Model | None = None
    started: float = field(default_factory=time.perf_counter)

    def __enter__(self) -> TrackedRequest:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        seconds = time.perf_counter() - self.started
        end = "ok" if error is None else error.reason.name if isinstance(error, Refusal) else "CANCELLED"
        self.metrics.ended("" if self.model is None else self.model.name, self.protocol, end, seconds)
        if self.model is not None and error is not None:
            self.model.statistics.failed(round(seconds * 1e9))


@dataclass
class Service:
    """One server's state.

    Attributes:
        stopping: the server still answers, and signals clients to go elsewhere.
    """

    options: ServeOptions
    metrics: Metrics = field(default_factory=Metrics)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.repository = Repository(self.options, self.metrics)
        self.workers = WorkerPool(os.cpu_count() or 1)
        self.shared_memory = SharedMemory(self.options.security.shared_memory)
        self.pending = PendingMemory(self.options.limits.pending_bytes)
        self.metrics.pending.set_function(lambda: self.pending.reserved)

    @property
    def ready(self) -> bool:
        """True where models are served and the server does not stop."""
        return self.repository.ready and not self.stopping

    def allows(self, authorization: str) -> bool:
        """Tell whether a request with that header may be answered."""
        token = self.options.security.token
        if token is None or hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            return True
        return self.options.classes.knows(authorization)

    async def infer(self, model: Model, inference: Inference) -> InferenceResult:
        """Check, queue and run one inference. Raises Refusal; cancel the call where the client has gone."""
        return await infer(model, inference, self.workers, self.options.limits, self.options.classes)

    def track(self, protocol: str) -> TrackedRequest:
        """Return the context of one request for inference over "http" or "grpc"."""
        return TrackedRequest(self.metrics, protocol)

    async def close(self) -> None:
        """Refuse what waits, and free models, threads and shared memory."""
        await self.repository.close()
        self.workers.close()
        self.shared_memory.close()
        await asyncio.sleep(0)  # answers of what was refused are on their way
