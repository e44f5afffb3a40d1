"""An independent count of a routed network's operations: every operator that PyTorch executes, by its shapes."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from adroit.models.networks.dynamic_routing.gate import SoftGate
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.networks.dynamic_routing.node import RoutedNode
from adroit.models.operators.counts import OperationCounts
from adroit.models.operators.routing_gate import routing_gate
from adroit.models.routing.route import Route

# No arithmetic: making, copying and looking at tensors, and choosing between maps.
FREE = frozenset(
    {"empty", "expand", "lift_fresh", "new_zeros", "scalar_tensor", "slice", "t", "unsqueeze", "view", "where",
     "zeros", "zeros_like"}
)  # fmt: skip
# On the [N,paths] gates of a node these decide whether it is open; `gt` also makes zeros of a map's size.
DECIDING = frozenset({"any", "bitwise_and", "bitwise_or", "clamp_min", "ge", "gt", "sum"})


class ExecutedOperations(TorchDispatchMode):
    """Adds up what runs while it is entered, operator by operator.

    Attributes:
        own: in the tool's columns. Batch norms count as the addition that is left of them when folded,
            and the ReLUs that a node's paths begin with once, since they are of the same map.
        paper: by part ("stem", "gate", "head" or "other"), after the paper's rules: multiply-adds
            and pooled elements 1, batch norms 2 and ReLUs 1 an element, the rest nothing.
    """

    def __init__(self, network: DynamicRouting) -> None:
        super().__init__()
        self._depth, self._at, self._gate_runs = network.space.depth, [""], False
        self._names = {module: name for name, module in network.named_modules()}
        self.restart()

    def restart(self, asking: bool = True) -> None:
        """asking: closed nodes ask their gates, as those of a dynamic network do to find themselves closed."""
        self._asking = asking
        self.own, self.paper = OperationCounts(), Counter[str]()
        self._activated: list[Tensor] = []  # held, since the address of a freed tensor may come again

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """While it lasts it is known which module runs."""
        with contextlib.ExitStack() as stack:
            for module in self._names:
                stack.callback(module.register_forward_pre_hook(self._enter).remove)
                stack.callback(module.register_forward_hook(self._leave).remove)
                if isinstance(module, SoftGate):
                    stack.enter_context(module.frozen())
            yield

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._at.append(self._names[module])

    def _leave(self, module: nn.Module, inputs: Any, _: Any) -> None:
        if self._asking and isinstance(module, RoutedNode) and not inputs[3]:
            module.gate_conv_beta(inputs[0], inputs[2])
        self._at.pop()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name == "routing_gate":
            self._gate_runs = True
            with self:  # its own operators count
                result = routing_gate._init_fn(*arguments)
            self._gate_runs = False
            return result
        result = function(*arguments, **(named or {}))
        if name not in FREE:
            self._count(name, arguments, result[0] if isinstance(result, tuple) else result)
        return result

    def _count(self, name: str, inputs: Any, out: Tensor) -> None:
        if name in DECIDING and not (self._gate_runs and isinstance(inputs[-1], Tensor)):
            return
        if name == "mul" and out.dim() == 2:  # by which gates are held to the route
            return
        own, paper = (_GATE_RULES if self._gate_runs else _RULES)[name]  # an operator without a rule is an error
        if not self._is_repeated(name, inputs[0]):
            self.own += own(inputs, out)
        if not self._is_left_out(name):
            self.paper[self._part()] += paper(inputs, out)

    def _part(self) -> str:
        if self._gate_runs:
            return "gate"
        at = self._at[-1]
        return "head" if at.startswith("sem_seg_head") else "stem" if ".stem." in at else "other"

    def _is_repeated(self, name: str, x: Tensor) -> bool:
        if name != "relu" or self._gate_runs:
            return False
        if any(x is seen for seen in self._activated):
            return True
        self._activated.append(x)
        return False

    def _is_left_out(self, name: str) -> bool:
        """Counts by the paper's rules: the init node's cell and gate, and the last layer's ReLUs."""
        at = self._at[-1]
        if at.startswith("backbone.init_layer"):
            return self._gate_runs or ".cell_ops" in at
        return at.startswith(f"backbone.all_cell_list.{self._depth - 1}.") and at.endswith(".res_keep")


Own = Callable[[Any, Tensor], OperationCounts]
Paper = Callable[[Any, Tensor], int]


def _products(inputs: Any, out: Tensor) -> int:
    return out.numel() * prod(inputs[1].shape[1:])


def _convolution(inputs: Any, out: Tensor) -> OperationCounts:
    return OperationCounts(_products(inputs, out), elementwise=out.numel() if inputs[2] is not None else 0)


def _elements(inputs: Any, out: Tensor) -> OperationCounts:
    return OperationCounts(elementwise=out.numel())


def _pooled(inputs: Any, out: Tensor) -> OperationCounts:
    return OperationCounts(elementwise=inputs[0].numel())


def _linear(inputs: Any, out: Tensor) -> OperationCounts:
    return OperationCounts(out.numel() * inputs[1].shape[1], elementwise=out.numel())


def _times(factor: int) -> Paper:
    return lambda inputs, out: factor * out.numel()


def _nothing(inputs: Any, out: Tensor) -> int:
    return 0


_RULES: dict[str, tuple[Own, Paper]] = {
    "convolution": (_convolution, _products),
    "native_batch_norm": (_elements, _times(2)),
    "relu": (_elements, _times(1)),
    "add": (_elements, _nothing),
    "mul": (_elements, _nothing),
    "upsample_bilinear2d": (lambda inputs, out: OperationCounts(4 * out.numel()), _nothing),
}
# Inside of a gate. Its first convolution has its batch norm folded in: the paper counts it as 2 an element.
_GATE_RULES: dict[str, tuple[Own, Paper]] = {
    "conv2d": (_convolution, lambda inputs, out: _products(inputs, out) + 2 * out.numel()),
    "relu_": (_elements, lambda inputs, out: out.numel() if out.dim() == 4 else 0),
    "mean": (_pooled, lambda inputs, out: inputs[0].numel()),
    "linear": (_linear, lambda inputs, out: out.numel() * inputs[1].shape[1]),
    "tanh_": (lambda inputs, out: OperationCounts(transcendental=out.numel()), _nothing),
    "gt": (_elements, _nothing),
    # The small gate's shrink is the mean of four values.
    "upsample_bilinear2d": (lambda inputs, out: OperationCounts(elementwise=4 * out.numel()), _nothing),
}


class InstrumentedNetwork:
    """Counts what `network` executes, run by run. Use it as a context manager: hooks are set meanwhile."""

    def __init__(self, network: DynamicRouting) -> None:
        self._network, self._stack = network, contextlib.ExitStack()
        self._counter = ExecutedOperations(network)

    def __enter__(self) -> InstrumentedNetwork:
        self._stack.enter_context(self._counter.following())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(
        self, size: tuple[int, int], route: Route, padded_stem: bool = False, asking: bool = True
    ) -> ExecutedOperations:
        """One image of `size` along `route`; valid until the next run.

        padded_stem: as the paper counts it; the network's first convolution has no padding.
        asking: see ExecutedOperations.restart.
        """
        self._counter.restart(asking)
        first = self._network.backbone.stem.stem_1
        first.padding = (1, 1) if padded_stem else (0, 0)
        with torch.no_grad(), self._counter:
            self._network(torch.zeros(1, 3, *size), torch.zeros(1), route)
        first.padding = (0, 0)
        return self._counter
