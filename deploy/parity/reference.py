"""The float64 PyTorch network that a deployment is compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.runtimes.torch_runtime import load_reference
from adroit.models.metrics.shift_consistency import Batch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from adroit.deploy.parity.rounding_model import Limits
    from adroit.deploy.reference.interpret import StoredProgram
    from adroit.deploy.reference.program import Node

Arrays = dict[str, NDArray[np.float64]]


class Reference(ABC):
    """The network of a deployment, run as the deployment is.

    Attributes:
        modules: paths of the modules whose outputs can be compared one by one.
        varies: whether any first output seen differs from the first sample's.
        empirical: operations without a rounding rule, whose limit was measured.
    """

    modules: set[str]

    def __init__(self, deployment: Deployment) -> None:
        self._info = deployment.info
        self._first: NDArray[np.float64] | None = None
        self.varies = False
        self.empirical: set[str] = set()

    def run(self, feeds: Tensors, names: Sequence[str], seed: int, precision: str) -> tuple[Arrays, Arrays]:
        """Returns references and limits by name, each of the shape of the value.

        Args:
            feeds: inputs of the deployment by name.
            names: outputs of the deployment, and paths of `modules`.
            seed, precision: as rounding_model.limits_of.
        """
        import torch

        inputs = [torch.from_numpy(feeds[spec.name]) for spec in self._info.inputs if spec.name in feeds]
        limits = self._limits([x.double() if x.is_floating_point() else x for x in inputs], names, seed, precision)
        self.empirical |= limits.empirical
        references = {name: value.numpy() for name, value in limits.references.items()}
        output = references[self._info.outputs[0].name]
        self._first = output[:1] if self._first is None else self._first
        self.varies = self.varies or output.shape[1:] != self._first.shape[1:] or bool((output != self._first).any())
        return references, {name: value.numpy() for name, value in limits.limits.items()}

    @abstractmethod
    def logits(self, x: Batch) -> NDArray[np.float64]:
        """Returns the first output for a batch of preprocessed images, without limits."""

    def gates(self, feeds: Tensors) -> NDArray[np.float64]:
        """Returns the gates, [N,paths], of a network that has them."""
        raise NotImplementedError

    @abstractmethod
    def _limits(self, inputs: Sequence[Tensor], names: Sequence[str], seed: int, precision: str) -> Limits: ...


def open_reference(deployment: Deployment, gate_threshold: float) -> Reference:
    """Loads what `deployment` is compared with.

    Args:
        gate_threshold: of a routed network, see Deployment.feeds.

    Raises:
        UsageError: reference/ is missing or damaged. UnsupportedModel: it was changed since the export.
    """
    if deployment.info.reference == "program":
        return ProgramReference(deployment)
    return CheckpointReference(deployment, gate_threshold)


class CheckpointReference(Reference):
    """A network of ours."""

    def __init__(self, deployment: Deployment, gate_threshold: float) -> None:
        from adroit.models.layers.anti_aliasing import AdaptiveAntiAlias

        super().__init__(deployment)
        self._network: nn.Module = load_reference(deployment).double()
        # Leaf modules and filters: a block does not always return the result of its last node.
        self.modules = {
            path
            for path, m in self._network.named_modules()
            if path and (isinstance(m, AdaptiveAntiAlias) or not list(m.children()))
        }
        self._arguments: tuple[Any, ...] = ()
        if deployment.info.routing is not None:
            import torch

            baked_threshold = deployment.baked_threshold
            threshold = torch.tensor(
                [gate_threshold if baked_threshold is None else baked_threshold], dtype=torch.float64
            )
            self._arguments = (threshold, deployment.info.routing.baked_route)

    def logits(self, x: Batch) -> NDArray[np.float64]:
        """Returns the logits, [N,classes] or [N,classes,H,W], without limits."""
        import torch

        with torch.no_grad():
            values: NDArray[np.float64] = self._network(torch.from_numpy(x).double(), *self._arguments).numpy()
        return values

    def gates(self, feeds: Tensors) -> NDArray[np.float64]:
        """Returns the gates, [N,paths]."""
        import torch

        image = torch.from_numpy(feeds[self._info.inputs[0].name]).double()
        with torch.no_grad():
            values = self._network(image, *self._arguments, with_gates=True)[1]
        gates: NDArray[np.float64] = values.numpy()
        return gates

    def _limits(self, inputs: Sequence[Tensor], names: Sequence[str], seed: int, precision: str) -> Limits:
        from adroit.deploy.parity.rounding_model import limits_of, module_outputs

        logits = self._info.outputs[0].name
        paths = {name: "" if name == logits else name for name in names}

        def compute(given: Sequence[Tensor]) -> Mapping[str, Tensor]:
            values = module_outputs(self._network, (given[0], *self._arguments), list(paths.values()))
            return {name: values[path] for name, path in paths.items() if path in values}

        return limits_of(compute, inputs[:1], seed, precision)


class ProgramReference(Reference):
    """A user's network, as it was stored in the deployment."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        network: Any = load_reference(deployment).double()
        self._program: StoredProgram = network
        self.modules = _modules_run_once([node.module for node in self._program.program.graphs[0].nodes])

    def logits(self, x: Batch) -> NDArray[np.float64]:
        """Returns the first output for a batch of preprocessed images, without limits."""
        import torch

        values = self._program(torch.from_numpy(x).double())
        logits: NDArray[np.float64] = values[self._info.outputs[0].name].numpy()
        return logits

    def _limits(self, inputs: Sequence[Tensor], names: Sequence[str], seed: int, precision: str) -> Limits:
        from adroit.deploy.parity.rounding_model import limits_of

        wanted = self.modules & set(names)

        def compute(given: Sequence[Tensor]) -> Mapping[str, Tensor]:
            values: dict[str, Tensor] = {}

            def keep(node: Node, result: Any) -> None:
                if node.module in wanted and hasattr(result, "detach"):
                    values[node.module] = result.detach().clone()  # a later node may work in place

            outputs: dict[str, Tensor] = self._program(*given, observe=keep)
            return values | outputs

        return limits_of(compute, inputs, seed, precision)


def _modules_run_once(calls: Sequence[str]) -> set[str]:
    """The modules whose nodes follow each other: those of a module that runs twice have others between them."""
    runs = [path for index, path in enumerate(calls) if index == 0 or calls[index - 1] != path]
    return {path for path in runs if path and runs.count(path) == 1}
