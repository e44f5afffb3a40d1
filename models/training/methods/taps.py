"""Reading what modules inside a network give, without changing the network."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adroit.errors import UsageError


class Taps:
    """Forward hooks that keep the outputs of named modules whenever a gradient could flow through them.

    Where gradients are off (evaluation, statistics) they keep nothing.

    Args:
        network: in training. names: of modules in it; each must give [N,C,H,W].

    Raises:
        UsageError: there is no module of that name, or (in the forward) its output is no feature map.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        modules = [_module_named(network, name) for name in names]
        self._names, self._seen = tuple(names), dict[str, Tensor]()
        self._handles = [
            module.register_forward_hook(self._hook(name)) for module, name in zip(modules, names, strict=True)
        ]

    def _hook(self, name: str) -> Any:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            if not torch.is_grad_enabled():
                return
            if not isinstance(output, Tensor) or output.ndim != 4:
                kind = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise UsageError(f"{name} gives no feature map [N,C,H,W] but {kind}", hint="name another module")
            self._seen[name] = output

        return keep

    def take(self) -> list[Tensor]:
        """The outputs of the last forward in the order of the names, [N,C,H,W]; they are then forgotten.

        Of a module that ran several times, the last one.

        Raises:
            UsageError: the forward did not reach one of the modules.
        """
        missed = [name for name in self._names if name not in self._seen]
        if missed:
            raise UsageError(f"a forward of the network does not reach {', '.join(missed)}", hint="name other modules")
        outputs = [self._seen[name] for name in self._names]
        self._seen.clear()
        return outputs

    def remove(self) -> None:
        """Leaves no hook in the network."""
        for handle in self._handles:
            handle.remove()
        self._seen.clear()


def _module_named(network: nn.Module, name: str) -> nn.Module:
    modules = dict(network.named_modules())
    module: nn.Module | None = modules.get(name)
    if module is not None:
        return module
    near = difflib.get_close_matches(name, list(modules), n=1, cutoff=0.0)[0]
    raise UsageError(f"the network has no module {name!r}", hint=f"did you mean {near}?" if near else None)


def tapped_channels(network: nn.Module, names: Sequence[str], size: tuple[int, int], in_channels: int) -> list[int]:
    """C of each module's output, by a forward of a copy: the network and torch's generator stay as they are.

    Args:
        size: height and width of the inputs. in_channels: of the inputs.

    Raises:
        UsageError: as Taps.
    """
    twin = copy.deepcopy(network).train()
    taps = Taps(twin, names)
    parameter = next(twin.parameters())
    with torch.random.fork_rng():
        # Two samples: batch norm takes no statistics of a single value.
        twin(torch.zeros(2, in_channels, *size, device=parameter.device, dtype=parameter.dtype))
    return [x.shape[1] for x in taps.take()]
