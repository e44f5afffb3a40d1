"""PyTorch: the network that a deployment was exported from, for comparison."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.runtimes.runtime import Runtime
from adroit.errors import UnsupportedModel, UsageError
from adroit.files import sha256
from adroit.models.checkpoints.checkpoint import WEIGHTS, load_checkpoint

if TYPE_CHECKING:
    from torch import nn


def load_reference(deployment: Deployment) -> nn.Module:
    """The network that `deployment` was exported from, in evaluation mode: one of ours, or a `StoredProgram`.

    Raises:
        UsageError: reference/ is missing or damaged.
        UnsupportedModel: its weights are not those that were exported.
    """
    record = deployment.info.checkpoint
    if deployment.info.reference == "program":
        from adroit.deploy.reference.store import PROGRAM, read_reference
        from adroit.deploy.reference.store import WEIGHTS as PROGRAM_WEIGHTS

        _check_unchanged(deployment.reference / PROGRAM, record.program)
        _check_unchanged(deployment.reference / PROGRAM_WEIGHTS, record.sha256)
        return read_reference(deployment.reference)
    _check_unchanged(deployment.reference / WEIGHTS, record.sha256)
    network, _ = load_checkpoint(deployment.reference)
    return network.requires_grad_(False)


def _check_unchanged(path: Path, expected: str | None) -> None:
    if not path.is_file():
        raise UsageError(f"a file of the PyTorch network is missing: {path}", hint="export it again")
    if sha256(path) != expected:
        raise UnsupportedModel(f"{path} was changed after the export", hint="export it again with `adroit export`")


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Holds PyTorch to so many threads, whatever OMP_NUM_THREADS is; afterwards it has those of before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchRuntime(Runtime):
    """The reference network in float32 on the CPU. `threads` is PyTorch's, for the whole process."""

    name = "torch"

    def __init__(self, deployment: Deployment, threads: int | None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self._network: nn.Module | None = load_reference(deployment)
        self._facts = {
            "runtime": f"torch {torch.__version__}",
            "operators": "torch",
            "threads": torch.get_num_threads(),
        }
        self.inputs, self.outputs = deployment.info.inputs, deployment.info.outputs
        self._is_program = deployment.info.reference == "program"
        self._threshold = deployment.baked_threshold or 0.0
        self._route = deployment.info.routing.baked_route if deployment.info.routing else None

    @property
    def facts(self) -> dict[str, Any]:
        """Versions and settings of this runtime; see Runtime.facts."""
        return dict(self._facts)

    def _run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        import torch

        assert self._network is not None
        with torch.inference_mode():
            given = [torch.from_numpy(feeds[spec.name]) for spec in self.inputs]
            if self._is_program:
                return {name: value.numpy() for name, value in self._network(*given).items()}
            image, *threshold = given
            if len(self.outputs) == 1:
                return {self.outputs[0].name: self._network(image).numpy()}
            limit = threshold[0] if threshold else torch.tensor([self._threshold])
            values = self._network(image, limit, self._route, with_gates=True)
        return {spec.name: value.numpy() for spec, value in zip(self.outputs, values, strict=True)}

    def close(self) -> None:
        """Frees the runtime; it cannot run afterwards."""
        self._network = None
