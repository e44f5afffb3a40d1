"""PyTorch: the checkpoint's own network, for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from deploy.entry import Entry
from deploy.runtimes.base import Runtime, Tensors
from models.checkpoint import WEIGHTS, load_checkpoint
from models.errors import UnsupportedModel
from models.files import sha256

if TYPE_CHECKING:
    from torch import nn


def load_reference(entry: Entry) -> nn.Module:
    """The network that `entry` was exported from, in evaluation mode.

    Raises:
        UsageError: reference/ is missing or damaged.
        UnsupportedModel: its weights are not those that were exported.
    """
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
        self.inputs, self.outputs = entry.info.inputs, entry.info.outputs[:1]

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self._facts)

    def _run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        import torch

        assert self._network is not None
        with torch.inference_mode():
            logits = self._network(torch.from_numpy(feeds[self.inputs[0].name]))
        return {self.outputs[0].name: logits.numpy()}

    def close(self) -> None:
        self._network = None
