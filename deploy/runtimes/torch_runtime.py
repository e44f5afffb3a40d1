"""PyTorch: the checkpoint's own network, for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from deploy.entry import Entry
from deploy.runtimes.base import Runtime, Tensors
from models.checkpoint import WEIGHTS, load_checkpoint
from models.errors import UnsupportedModel, UsageError
from models.files import sha256
from models.routing.route import Route

if TYPE_CHECKING:
    from torch import nn


def load_reference(entry: Entry) -> nn.Module:
    """The network that `entry` was exported from, in evaluation mode.

    Raises:
        UsageError: reference/ is missing or damaged.
        UnsupportedModel: its weights are not those that were exported.
    """
    if not (entry.reference / WEIGHTS).is_file():
        raise UsageError(f"the weights of the PyTorch network are missing: {entry.reference / WEIGHTS}")
    if sha256(entry.reference / WEIGHTS) != entry.info.checkpoint["sha256"]:
        raise UnsupportedModel(
            f"{entry.reference / WEIGHTS} was changed after the export", hint="export it again with `adroit export`"
        )
    network, _ = load_checkpoint(entry.reference)
    return network.requires_grad_(False)


class TorchRuntime(Runtime):
    """The reference network in float32 on the CPU. `threads` is PyTorch's, for the whole process."""

    name = "torch"

    def __init__(self, entry: Entry, threads: int | None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self._network: nn.Module | None = load_reference(entry)
        self._facts = {
            "runtime": f"torch {torch.__version__}",
            "operators": "torch",
            "threads": torch.get_num_threads(),
        }
        self.inputs, self.outputs = entry.info.inputs, entry.info.outputs
        baked = (entry.info.routing or {}).get("route")
        self._threshold = entry.baked_threshold or 0.0
        self._route = Route.from_json(baked) if baked else None

    @property
    def facts(self) -> dict[str, Any]:
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
        self._network = None
