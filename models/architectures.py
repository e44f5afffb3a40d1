"""The networks by name, with what the toolchain must know about each."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.data.preprocessing import CIFAR10, IMAGENET, Preprocessing
from models.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """A network's builder and its input.

    Attributes:
        name: as on the command line and in config.json.
        build: keyword arguments (see `defaults`) to a module in training mode.
        defaults: the builder's arguments and their default values.
        input_size: height and width in pixels that it is made for.
        any_size: whether other heights and widths work too.
        preprocessing: how images become its input, unless a checkpoint says otherwise.
    """

    name: str
    build: Callable[..., nn.Module]
    input_size: tuple[int, int]
    any_size: bool
    preprocessing: Preprocessing
    defaults: Mapping[str, Any] = field(default_factory=dict)


def _cifar_resnet(blocks_per_stage: int) -> Callable[..., nn.Module]:
    def build(classes: int, kind: str) -> nn.Module:
        from models.networks.adder_resnet import cifar_resnet

        return cifar_resnet(blocks_per_stage, classes, kind)

    return build


def _imagenet_resnet(depth: int) -> Callable[..., nn.Module]:
    def build(classes: int, kind: str) -> nn.Module:
        from models.networks.adder_resnet import imagenet_resnet

        return imagenet_resnet(depth, classes, kind)

    return build


def _vgg_small(classes: int, kind: str) -> nn.Module:
    from models.networks.adder_small import VggSmall

    return VggSmall(classes, kind)


def _lenet5_bn(classes: int, kind: str) -> nn.Module:
    from models.networks.adder_small import LeNet5BN

    return LeNet5BN(classes, kind)


_GREY_32 = Preprocessing(channels="gray", resize=(32, 32), mean=(0.5,), deviation=(0.5,))
_TEN: Mapping[str, Any] = {"classes": 10, "kind": "adder"}
_THOUSAND: Mapping[str, Any] = {"classes": 1000, "kind": "adder"}

ARCHITECTURES: Mapping[str, Architecture] = {
    a.name: a
    for a in (
        Architecture("adder-resnet20", _cifar_resnet(3), (32, 32), True, CIFAR10, _TEN),
        Architecture("adder-resnet32", _cifar_resnet(5), (32, 32), True, CIFAR10, _TEN),
        Architecture("adder-resnet18", _imagenet_resnet(18), (224, 224), True, IMAGENET, _THOUSAND),
        Architecture("adder-resnet50", _imagenet_resnet(50), (224, 224), True, IMAGENET, _THOUSAND),
        Architecture("adder-vgg-small", _vgg_small, (32, 32), False, CIFAR10, _TEN),
        Architecture("adder-lenet5-bn", _lenet5_bn, (32, 32), False, _GREY_32, _TEN),
    )
}


def architecture_named(name: str) -> Architecture:
    """Raises UsageError, naming the nearest, where there is none of that name."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    near = difflib.get_close_matches(name, ARCHITECTURES, n=1, cutoff=0.0)[0]
    raise UsageError(
        f"there is no architecture named {name!r}",
        facts={"known": ", ".join(ARCHITECTURES)},
        hint=f"did you mean {near}?",
    )


def build_network(name: str, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """The network `name` with its default arguments overridden by `arguments`.

    Raises:
        UsageError: an unknown name or argument.
    """
    architecture = architecture_named(name)
    unknown = set(arguments or {}) - set(architecture.defaults)
    if unknown:
        raise UsageError(
            f"{name} has no argument {', '.join(sorted(unknown))}", facts={"known": ", ".join(architecture.defaults)}
        )
    return architecture.build(**{**architecture.defaults, **(arguments or {})})
