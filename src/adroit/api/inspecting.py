"""What a deployment is, without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from adroit.api.arguments import PathLike, read_model
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import REFERENCE_FOLDER


@dataclass(frozen=True)
class DeploymentSummary:
    """What the description of a deployment says.

    Attributes:
        name, architecture, task: as exported; task is one of `list_tasks`.
        form: "operators" (adroit's, with portable bodies) or "portable" (standard ones only).
        inputs, outputs: each tensor as text: name, dtype, dimensions (names where they are free).
        labels: how many names of classes there are.
        operators: how many nodes of each custom operator the model has.
        gates: of a network with gates: its form and where its threshold comes from; else None.
        provenance: where the weights come from, and the versions that exported them.
        can_check: whether the PyTorch network is there, which `check` compares with.
        records: of `check`, `quantize`, `build`, `budget` and `profile`: what was recorded; None where not done.
    """

    name: str
    architecture: str
    task: str
    form: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    labels: int
    operators: Mapping[str, int]
    gates: Mapping[str, Any] | None
    provenance: Mapping[str, Any]
    can_check: bool
    records: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Returns the summary as JSON values."""
        return asdict(self)


def inspect(deployment: PathLike | Deployment) -> DeploymentSummary:
    """Reads what a deployment is: inputs, outputs, task, operators, gates, provenance and records.

    Args:
        deployment: a deployment, its path REPOSITORY/NAME, or an ONNX file of adroit's or anybody's.

    Raises:
        UsageError: not a deployment.

    >>> summary = adroit.inspect("repository/mine")
    >>> summary.task, summary.outputs
    ('classification', ('logits float32 [batch, 10]',))
    """
    read = read_model(deployment)
    info, routing = read.info, read.info.routing
    gates = None
    if routing is not None and routing.gate != "none":
        threshold = routing.threshold
        gates = {"form": routing.form, "threshold": "an input" if threshold is None else threshold}
    builds = {version: {"backend": b.backend, "file": b.file} for version, b in info.builds.items()}
    quantization = info.quantization and {"from": info.quantization.source.name}
    verdict = info.parity
    parity = verdict and {"passed": verdict.passed, "used": verdict.used, "images": verdict.images}
    return DeploymentSummary(
        name=info.name,
        architecture=info.architecture,
        task=info.task,
        form=info.form,
        inputs=tuple(map(str, info.inputs)),
        outputs=tuple(map(str, info.outputs)),
        labels=len(info.labels),
        operators={name: operator.nodes for name, operator in info.operators.items()},
        gates=gates,
        provenance={"weights": info.checkpoint.sha256, **info.checkpoint.source, "exported by": info.tools},
        can_check=(read.path / REFERENCE_FOLDER).is_dir(),
        records={
            "check": parity,
            "quantize": quantization,
            "build": builds or None,
            "budget": info.budget and {"settings": len(info.budget.settings)},
            "profile": info.latency and {"latencies of routes": True},
        },
    )
