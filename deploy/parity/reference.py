"""The float64 PyTorch network that a deployment is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.torch_runtime import load_reference
from adroit.models.metrics.shift_consistency import Batch


class Reference:
    """The network of a deployment, run as the deployment is."""

    def __init__(self, deployment: Deployment, gate_threshold: float) -> None:
        from adroit.models.layers.anti_aliasing import AdaptiveAntiAlias

        self._network = load_reference(deployment).double()
        # Leaf modules and filters: a block does not always return the result of its last node.
        self.modules = {
            path
            for path, m in self._network.named_modules()
            if path and (isinstance(m, AdaptiveAntiAlias) or not list(m.children()))
        }
        self._first: NDArray[np.float64] | None = None
        self.varies = False  # whether any output seen differs from the first
        self._arguments: tuple[Any, ...] = ()
        if deployment.info.routing is not None:
            import torch

            baked_threshold = deployment.baked_threshold
            threshold = torch.tensor(
                [gate_threshold if baked_threshold is None else baked_threshold], dtype=torch.float64
            )
            self._arguments = (threshold, deployment.info.routing.baked_route)

    def run(
        self, x: NDArray[np.float32], modules: Sequence[str], seed: int, precision: str
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
        """Returns references and limits, as run_with_limits."""
        import torch

        from adroit.deploy.parity.rounding_model import run_with_limits

        results = run_with_limits(
            self._network, torch.from_numpy(x).double(), modules, seed, self._arguments, precision
        )
        references, limits = ({path: value.numpy() for path, value in part.items()} for part in results)
        output = references[""]
        self._first = output[:1] if self._first is None else self._first
        self.varies = self.varies or output.shape[1:] != self._first.shape[1:] or bool((output != self._first).any())
        return references, limits

    def logits(self, x: Batch) -> NDArray[np.float64]:
        """Returns the logits, [N,classes] or [N,classes,H,W], without limits."""
        import torch

        with torch.no_grad():
            values: NDArray[np.float64] = self._network(torch.from_numpy(x).double(), *self._arguments).numpy()
        return values

    def gates(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns the gates, [N,paths]."""
        import torch

        with torch.no_grad():
            values = self._network(torch.from_numpy(x).double(), *self._arguments, with_gates=True)[1]
        gates: NDArray[np.float64] = values.numpy()
        return gates
