"""Replaces the modules of public code that adroit has operators for, and reports what it replaced.

Modules are recognized by the names of their classes and by their attributes; the packages that they come from are
never imported. A name proves nothing, since the same name stands for changed copies of the code too. So both modules
run on the same random numbers in float64, and only one that gives the same results is replaced (comparison.py).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from adroit.errors import UsageError
from adroit.models.adoption.adaptive_filter import adopt_adaptive_filter
from adroit.models.adoption.adder import adopt_adder
from adroit.models.adoption.blur_pool import adopt_blur_pool
from adroit.models.adoption.comparison import compare
from adroit.models.adoption.hooks import copy_hooks, hooked_submodules
from adroit.models.adoption.replacement import NotAdopted, Replacement
from adroit.models.adoption.tree import replace_modules, walk

# Each returns None where the module is none of its own, and raises NotAdopted where it is one that must stay.
RULES: tuple[Callable[[nn.Module], Replacement | None], ...] = (adopt_adder, adopt_adaptive_filter, adopt_blur_pool)


@dataclass(frozen=True)
class Adopted:
    """One module that was replaced.

    Attributes:
        paths: every place of the module in the network; more than one where it is shared; "" is the network itself.
        class_name: its class, with the module of Python that defines it.
        replacement: what stands there now, with its arguments.
        difference: largest difference of the two results, relative to the largest result, both in float64; None where
            the module cannot run here.
        note: why they were not compared, or that it was in another type; else empty.
    """

    paths: tuple[str, ...]
    class_name: str
    replacement: str
    difference: float | None
    note: str = ""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{_places(self.paths)}: {self.class_name} -> {self.replacement}{note}"


@dataclass(frozen=True)
class Left:
    """One module that looks like a layer that adroit has, and stays as it is.

    Attributes:
        paths, class_name: as in Adopted.
        reason: why it stays; a sentence without its first capital and its period.
    """

    paths: tuple[str, ...]
    class_name: str
    reason: str

    def __str__(self) -> str:
        return f"{_places(self.paths)}: {self.class_name} stays: {self.reason}"


@dataclass(frozen=True)
class Adoption:
    """A network and what was replaced in it.

    Attributes:
        network: computes what the original computes.
        adopted: the replaced modules, in the order of the network's modules.
        left: modules of like names that stay, with the reason.
    """

    network: nn.Module
    adopted: tuple[Adopted, ...]
    left: tuple[Left, ...]

    def __str__(self) -> str:
        """One line for each module, as a command prints them; empty where there is nothing to say."""
        return "\n".join(map(str, (*self.adopted, *self.left)))


def adopt(network: nn.Module, *, in_place: bool = False) -> Adoption:
    """Replaces modules of public code by adroit's, with their weights.

    These become adroit's: `adder2d` and `Adder2D` of AdderNet and of its copies; `Downsample_PASA_group_softmax` of
    Adaptive-anti-Aliasing; `BlurPool` and `Downsample` of antialiased_cnns, `BlurPool2d` of timm.

    Parameters and norms are the same objects afterwards, so that what is shared, frozen or already in an optimizer
    stays so; training mode and hooks of the replaced modules stay too. Norms keep their epsilon. Names of parameters
    change with the class (`adder` to `weight`), and so does the network's state dict.

    Example:
        >>> adoption = adopt(network)
        >>> print(adoption)
        layer1.0.conv1: adder.adder2d -> AdderConv2d(16x16x3x3, stride=1, padding=1)

    Args:
        network: any module; also one that is itself such a layer.
        in_place: whether `network` is changed; else a copy is, and `network` stays as it was.

    Raises:
        UsageError: Python cannot copy the network, and `in_place` is false.
    """
    root = network if in_place else _copied(network)
    replacements: dict[int, nn.Module] = {}
    adopted: list[Adopted] = []
    left: list[Left] = []
    for module, paths in walk(root):
        class_name = f"{type(module).__module__}.{type(module).__qualname__}"
        try:
            outcome = _replacement(module)
        except NotAdopted as refusal:
            left.append(Left(paths, class_name, str(refusal)))
            continue
        if outcome is not None:
            replacement, difference, note = outcome
            replacements[id(module)] = replacement
            adopted.append(Adopted(paths, class_name, _described(replacement), difference, note))
    root = replace_modules(root, replacements)
    return Adoption(root, tuple(adopted), tuple(left))


def _replacement(module: nn.Module) -> tuple[nn.Module, float | None, str] | None:
    """What replaces `module`, the difference of the two, and a note; None for a module that is nothing of ours."""
    for rule in RULES:
        replacement = rule(module)
        if replacement is None:
            continue
        hooked = hooked_submodules(module)
        if hooked:
            raise NotAdopted(f"hooks on its {', '.join(hooked)} would see other tensors than now")
        _check_forward(module)
        comparison = compare(module, replacement)
        copy_hooks(module, replacement.module)
        return replacement.module, comparison.difference, comparison.note
    return None


def _check_forward(module: nn.Module) -> None:
    """Raises NotAdopted where calls of `module` may mean more than they do to a layer of ours."""
    if "forward" in vars(module):
        raise NotAdopted("its `forward` was replaced")
    arguments = list(inspect.signature(type(module).forward).parameters)[1:]
    if len(arguments) != 1:
        raise NotAdopted(f"its `forward` takes ({', '.join(arguments)}), not one tensor")


def _described(module: nn.Module) -> str:
    return f"{type(module).__name__}({module.extra_repr()})"


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except Exception as error:  # whatever a user's own attributes raise
        raise UsageError(
            f"Python cannot copy this {type(network).__name__}: {error}", hint="call adopt(network, in_place=True)"
        ) from error


def _places(paths: tuple[str, ...]) -> str:
    return ", ".join(path or "(the network)" for path in paths)
