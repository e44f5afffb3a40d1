"""PyTorch: the checkpoint's own network, for comparison."""

from __future__ import annotations

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
    """The network that `deployment` was exported from, in evaluation mode.

    Raises:
        UsageError: reference/ is missing or damaged.
        UnsupportedModel: its weights are not those that were exported.
    """
    if not (deployment.reference / WEIGHTS).is_file():
        raise UsageError(f"the weights of the PyTorch network are missing: {deployment.reference / WEIGHTS}")
    if sha256(deployment.reference / WEIGHTS) != deployment.info.checkpoint.sha256:
        raise UnsupportedModel(
            f"{deployment.reference / WEIGHTS} was changed after the export",
            hint="export it again with `adroit export`",
        )
    network, _ = load_checkpoint(deployment.reference)
    return network.requires_grad_(False)


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
            image, *threshold = (torch.from_numpy(feeds[spec.name]) for spec in self.inputs)
            if len(self.outputs) == 1:
                return {self.outputs[0].name: self._network(image).numpy()}
            limit = threshold[0] if threshold else torch.tensor([self._threshold])
            values = self._network(image, limit, self._route, with_gates=True)
        return {spec.name: value.numpy() for spec, value in zip(self.outputs, values, strict=True)}

    def close(self) -> None:
        """Frees the runtime; it cannot run afterwards."""
        self._network = None
