"""What both protocols answer from: models, limits, and the messages about them."""

from __future__ import annotations

import asyncio
import hmac
import os
import time
from dataclasses import dataclass, field
from typing import Any

from adroit.deploy.deployment.deployment import THRESHOLD
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.serve.engine.budget import PARAMETERS
from adroit.deploy.serve.engine.inference import Answer, Inference, Preparer, infer
from adroit.deploy.serve.engine.memory import PendingBytes
from adroit.deploy.serve.engine.repository import Repository
from adroit.deploy.serve.engine.served_model import ServedModel
from adroit.deploy.serve.engine.shared_memory import SharedMemory
from adroit.deploy.serve.observe.metrics import Metrics
from adroit.deploy.serve.options import ServeOptions
from adroit.deploy.serve.protocol.datatypes import datatype_of
from adroit.deploy.serve.protocol.messages import ModelMetadata, ModelStatistics, ServerMetadata, TensorMetadata
from adroit.deploy.serve.protocol.refusal import Refusal
from adroit.version import __version__

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics", "system_shared_memory")


@dataclass(slots=True)
class Counted:
    """Around one request for inference: counts how it ends, and how long it took.

    Attributes:
        model: set once it is known.
    """

    metrics: Metrics
    protocol: str
    model: ServedModel | None = None
    started: float = field(default_factory=time.perf_counter)

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        seconds = time.perf_counter() - self.started
        end = "ok" if error is None else error.reason.name if isinstance(error, Refusal) else "CANCELLED"
        self.metrics.ended("" if self.model is None else self.model.name, self.protocol, end, seconds)
        if self.model is not None and error is not None:
            self.model.statistics.failed(round(seconds * 1e9))


@dataclass
class Service:
    """One server's parts. `stopping`: it still answers, and asks clients to go elsewhere."""

    options: ServeOptions
    metrics: Metrics = field(default_factory=Metrics)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.repository = Repository(self.options, self.metrics)
        self.preparer = Preparer(os.cpu_count() or 1)
        self.shared_memory = SharedMemory(self.options.security.shared_memory)
        self.pending = PendingBytes(self.options.limits.pending_bytes)
        self.metrics.pending.set_function(lambda: self.pending.held)

    @property
    def ready(self) -> bool:
        return self.repository.ready and not self.stopping

    def allows(self, authorization: str) -> bool:
        """Whether a request with that header may be answered."""
        token = self.options.security.token
        if token is None or hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            return True
        return self.options.classes.knows(authorization)

    async def infer(self, model: ServedModel, inference: Inference) -> Answer:
        """Raises Refusal; cancel it where the client has gone."""
        return await infer(model, inference, self.preparer, self.options.limits, self.options.classes)

    def counted(self, protocol: str) -> Counted:
        return Counted(self.metrics, protocol)

    async def close(self) -> None:
        await self.repository.close()
        self.preparer.close()
        self.shared_memory.close()
        await asyncio.sleep(0)  # answers of what was refused are on their way


def server_metadata() -> ServerMetadata:
    return ServerMetadata("adroit", __version__, list(EXTENSIONS))


def model_metadata(model: ServedModel) -> ModelMetadata:
    """-1 is a free dimension; pixels are taken for the image too, which `properties` says."""
    info = model.deployment.info
    properties = {"task": info.task, f"{info.inputs[0].name} as pixels": "UINT8 [-1,-1,-1,3]"}
    if model.budget.gated:
        properties["budget parameters"] = ", ".join(sorted(PARAMETERS))
    return ModelMetadata(
        model.name,
        [model.version],
        model.platform,
        [_tensor_metadata(spec) for spec in info.inputs],
        [_tensor_metadata(spec) for spec in info.outputs],
        properties,
    )


def _tensor_metadata(spec: TensorSpec) -> TensorMetadata:
    shape = [size if isinstance(size, int) else -1 for size in spec.shape]
    # A batch of thresholds is a column to the protocol, as config.pbtxt says it; [N] is taken too.
    return TensorMetadata(spec.name, datatype_of(spec.dtype), shape + [1] * (spec.name == THRESHOLD))


def model_statistics(model: ServedModel) -> ModelStatistics:
    return model.statistics.message


def model_config(model: ServedModel, options: ServeOptions) -> dict[str, Any]:
    """Triton's ModelConfig as this server runs the model, in the names of its fields."""
    limits, metadata = options.limits, model_metadata(model)
    return {
        "name": model.name,
        "platform": model.platform,
        "backend": options.runtime.runtime.value,
        "version_policy": {"specific": {"versions": [int(model.version)]}},
        "max_batch_size": limits.batch,
        "input": [_config_tensor(each) | {"optional": each.name == THRESHOLD} for each in metadata.inputs],
        "output": [_config_tensor(each) for each in metadata.outputs],
        "instance_group": [{"kind": "KIND_CPU", "count": options.instances}],
        "dynamic_batching": {
            "max_queue_delay_microseconds": round(limits.delay_seconds * 1e6),
            "default_queue_policy": {
                "default_timeout_microseconds": round(limits.queue_seconds * 1e6),
                "allow_timeout_override": True,
                "max_queue_size": limits.queue_requests,
            },
        },
        "parameters": {name: {"string_value": text} for name, text in metadata.properties.items()},
    }


def _config_tensor(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": f"TYPE_{tensor.datatype}", "dims": tensor.shape[1:]}
