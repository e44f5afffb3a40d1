"""What installed packages add to adroit: entry points, loaded when they are needed and not before.

A package adds networks by the group `adroit.architectures` (models/networks/architectures.py), layouts of published
checkpoints by `adroit.importers` (models/checkpoints/importers.py) and recipes by `adroit.recipes`
(models/training/recipe.py). A package that is broken, or that brings a name which is taken, is named and left out;
the others and adroit's own stay.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from adroit.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

OWN_PACKAGE = "adroit-deploy"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Additions(Generic[T]):
    """What all packages add to one group.

    Attributes:
        values: what is added, by its name.
        refused: names that are taken, and why each is left out.
        faults: one line for each package or name that is left out.
    """

    values: Mapping[str, T]
    refused: Mapping[str, str]
    faults: Sequence[str]

    def unknown(self, noun: str, name: str, known: Collection[str], hint: str | None) -> UsageError:
        """The error for a name that is not there, or that packages quarrel about."""
        if name in self.refused:
            return UsageError(self.refused[name], hint="uninstall one of the packages, or have one rename it")
        facts = {"known": ", ".join(known), **({"left out": "; ".join(self.faults)} if self.faults else {})}
        return UsageError(f"there is no {noun} named {name!r}", facts=facts, hint=hint)


@functools.cache
def entry_points(group: str) -> tuple[tuple[str, EntryPoint], ...]:
    """The entry points of a group, each with the name of its package, in the order of these names."""
    import importlib.metadata

    found = [((point.dist and point.dist.name) or "?", point) for point in importlib.metadata.entry_points(group=group)]
    return tuple(sorted(found, key=lambda pair: (pair[0], pair[1].name)))


def load_additions(group: str, noun: str, read: Callable[[Any], Mapping[str, T]], own: Collection[str]) -> Additions[T]:
    """Loads every entry point of `group`.

    Args:
        noun: what the group adds, for messages: "architecture".
        read: the loaded object to what it adds by name; may raise anything.
        own: names of adroit's own, which no package may take.
    """
    values: dict[str, T] = {}
    refused: dict[str, str] = {}
    faults: list[str] = []
    owners: dict[str, str] = dict.fromkeys(own, OWN_PACKAGE)
    try:
        points = entry_points(group)
    except Exception as error:  # a damaged description of any package
        return Additions({}, {}, (f"entry points of installed packages cannot be read: {_reason(error)}",))
    for package, point in points:
        try:
            added = read(point.load())
            if wrong := [name for name in added if not (isinstance(name, str) and _NAME.fullmatch(name))]:
                raise ValueError(f"{wrong[0]!r} is no name: letters, digits, dots, hyphens and underscores are")
        except (Exception, SystemExit) as error:  # another's code may raise anything
            faults.append(f"package {package}, entry point {point.name} = {point.value} of {group}: {_reason(error)}")
            continue
        for name, value in added.items():
            if name in owners:
                message = f"the {noun} {name!r} is in two packages: {owners[name]} and {package}"
                faults.append(message)
                if name not in own:  # ours stays
                    values.pop(name, None)
                    refused[name] = message
            else:
                owners[name], values[name] = package, value
    return Additions(values, refused, tuple(faults))


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
