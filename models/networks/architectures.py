"""The networks by name, with what the toolchain must know about each."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from adroit.errors import UsageError
from adroit.extensions import Additions, load_additions
from adroit.models.data.preprocessing import CIFAR10, IMAGENET, ROUTED, Preprocessing
from adroit.models.networks import builders
from adroit.models.networks.source import call_source

if TYPE_CHECKING:
    from torch import nn

Task = Literal["classification", "segmentation", "depth", "tensors"]


@dataclass(frozen=True)
class Architecture:
    """A network's builder and its input.

    An installed package adds its own by entry points of the group `adroit.architectures`: each gives an Architecture,
    or is a callable without arguments that gives one or several.

    Attributes:
        name: as on the command line and in config.json.
        build: keyword arguments (see `defaults`) to a module in training mode.
        defaults: the builder's arguments and their default values.
        input_size: height and width in pixels that it is made for.
        any_size: whether other heights and widths work too.
        preprocessing: how images become its input, unless a checkpoint says otherwise.
        task: what its logits mean: [N,classes] of an image, or [N,classes,H,W] of its pixels.
    """

    name: str
    build: Callable[..., nn.Module]
    input_size: tuple[int, int]
    any_size: bool
    preprocessing: Preprocessing
    defaults: Mapping[str, Any] = field(default_factory=dict)
    task: Task = "classification"


def _routed(name: str, depth: int, width: int, classes: int, gate: str, size: tuple[int, int]) -> Architecture:
    defaults = {
        "depth": depth,
        "width": width,
        "classes": classes,
        "gate": gate,
        "drop_path": 0.0,
        "stem_channels": 0,
        "separable_stem": True,
    }
    return Architecture(name, builders.build_dynamic_routing, size, True, ROUTED, defaults, "segmentation")


_CITYSCAPES_SIZE = (1024, 2048)


def _filter(groups: int, classes: int, **others: Any) -> Mapping[str, Any]:
    """Defaults of an anti-aliased network; filter is adaptive, binomial or none."""
    return {
        "classes": classes,
        "filter": "adaptive",
        "filter_size": 3,
        "groups": groups,
        "joint_softmax": True,
        **others,
    }


_GRAY_32 = Preprocessing(channels="gray", resize=(32, 32), mean=(0.5,), std=(0.5,))
# ImageNet's statistics at the image's own size.
_VOC = Preprocessing(mean=IMAGENET.mean, std=IMAGENET.std)
_TEN: Mapping[str, Any] = {"classes": 10, "kind": "adder"}
_THOUSAND: Mapping[str, Any] = {"classes": 1000, "kind": "adder"}

ARCHITECTURES: Mapping[str, Architecture] = {
    a.name: a
    for a in (
        Architecture("adder-resnet20", builders.cifar_resnet(3), (32, 32), True, CIFAR10, _TEN),
        Architecture("adder-resnet32", builders.cifar_resnet(5), (32, 32), True, CIFAR10, _TEN),
        Architecture("adder-resnet18", builders.imagenet_resnet(18), (224, 224), True, IMAGENET, _THOUSAND),
        Architecture("adder-resnet50", builders.imagenet_resnet(50), (224, 224), True, IMAGENET, _THOUSAND),
        Architecture("adder-vgg-small", builders.build_vgg_small, (32, 32), False, CIFAR10, _TEN),
        Architecture("adder-lenet5-bn", builders.build_lenet5_bn, (32, 32), False, _GRAY_32, _TEN),
        # A, B and C are one network, trained with different budgets (models/losses/routing_budget.py).
        _routed("dynamic-a", 16, 64, 19, "small", _CITYSCAPES_SIZE),
        _routed("dynamic-b", 16, 64, 19, "small", _CITYSCAPES_SIZE),
        _routed("dynamic-c", 16, 64, 19, "small", _CITYSCAPES_SIZE),
        _routed("dynamic-raw-16", 16, 64, 19, "normal", _CITYSCAPES_SIZE),
        _routed("dynamic-raw-33", 33, 64, 19, "normal", _CITYSCAPES_SIZE),
        # For CPUs: CamVid's 360 x 480 pixels, padded.
        _routed("dynamic-small", 4, 16, 11, "small", (384, 480)),
        *(
            Architecture(
                f"aa-resnet{depth}",
                builders.anti_aliased_resnet(depth),
                (224, 224),
                True,
                IMAGENET,
                _filter(groups, 1000, pool_only=True),
            )
            for depth, groups in ((18, 2), (34, 2), (50, 8), (101, 8), (152, 8))
        ),
        *(
            Architecture(
                f"aa-deeplabv3plus-resnet{depth}",
                builders.anti_aliased_deeplab(depth),
                (513, 513),
                True,
                _VOC,
                _filter(2, 21, output_stride=16),
                "segmentation",
            )
            for depth in (50, 101)
        ),
        Architecture(
            "aa-cifar-resnet20",
            builders.anti_aliased_cifar_resnet(3),
            (32, 32),
            True,
            CIFAR10,
            _filter(2, 10, width=16),
        ),
        Architecture(
            "wide-resnet",
            builders.build_wide_resnet,
            (32, 32),
            True,
            CIFAR10,
            {"depth": 28, "widen": 10, "classes": 10, "slope": 0.0, "shortcut": "projection", "stem_stride": 1},
        ),
    )
}


# By the callable that the user's own recipe names; see factories.py.
_NAMED_BY_RECIPES: dict[str, Architecture] = {}
# What networks call the number of their classes.
_CLASS_ARGUMENTS = ("classes", "num_classes", "n_classes", "class_count")


@functools.cache
def added_architectures() -> Additions[Architecture]:
    """Loads what installed packages add."""
    return load_additions("adroit.architectures", "architecture", _read_added, ARCHITECTURES)


def _read_added(value: Any) -> dict[str, Architecture]:
    given = value() if callable(value) else value
    architectures = [given] if isinstance(given, Architecture) else list(given)
    for architecture in architectures:
        if not isinstance(architecture, Architecture):
            raise TypeError(
                f"it gives {type(architecture).__name__}, not adroit.models.networks.architectures.Architecture"
            )
        sides, steps = architecture.input_size, architecture.preprocessing
        if not (
            len(sides) == 2 and all(isinstance(s, int) and s > 0 for s in sides) and isinstance(steps, Preprocessing)
        ):
            raise TypeError(f"{architecture.name}: input_size must be two whole numbers, preprocessing a Preprocessing")
    return {architecture.name: architecture for architecture in architectures}


def architectures() -> Mapping[str, Architecture]:
    """Every network by its name: ours, then those of installed packages."""
    return {**ARCHITECTURES, **added_architectures().values}


def register_factory(architecture: Architecture) -> None:
    """Makes the network of a callable known to this process: one that the user names, not a file in some folder."""
    _NAMED_BY_RECIPES[architecture.name] = architecture


def is_unregistered_factory(name: str) -> bool:
    """Whether this is the name of a callable that nothing of the user's has named in this process."""
    return ":" in name and name not in _NAMED_BY_RECIPES


def architecture_named(name: str) -> Architecture:
    """Finds a network: one of ours, of an installed package, or one that a recipe has named in this process.

    Raises:
        UsageError: there is none of that name; the nearest is named.
    """
    own = ARCHITECTURES.get(name) or _NAMED_BY_RECIPES.get(name)
    if own is not None:
        return own
    known = architectures()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    raise added_architectures().unknown("architecture", name, known, f"did you mean {near[0]}?" if near else None)


def class_argument(architecture: Architecture, arguments: Mapping[str, Any]) -> tuple[str, int]:
    """The argument that says how many classes the network tells apart, and its value.

    Raises:
        UsageError: the network has no such argument.
    """
    values = {**architecture.defaults, **arguments}
    for name in _CLASS_ARGUMENTS:
        if name in values:
            return name, int(values[name])
    raise UsageError(
        f"{architecture.name} has no argument for the number of classes",
        facts={"arguments": ", ".join(values) or "none", "one of": ", ".join(_CLASS_ARGUMENTS)},
        hint="give it one, or its value in the recipe's [arguments]",
    )


def build_network(name: str, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """The network `name` with its default arguments overridden by `arguments`.

    Raises:
        UsageError: an unknown name or argument, or an error in code that is not adroit's.
    """
    architecture = architecture_named(name)
    unknown = set(arguments or {}) - set(architecture.defaults)
    if unknown:
        raise UsageError(
            f"{name} has no argument {', '.join(sorted(unknown))}", facts={"known": ", ".join(architecture.defaults)}
        )
    values = {**architecture.defaults, **(arguments or {})}
    return architecture.build(**values) if name in ARCHITECTURES else call_source(name, architecture.build, values)
