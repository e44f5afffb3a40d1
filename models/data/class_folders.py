"""Which class each folder of images is: folders' names held against the network's labels."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence

from adroit.errors import UsageError
from adroit.text import shortened

# WordNet's identifiers, which name ImageNet's folders; its classes are numbered in their order.
_SYNSET = re.compile(r"n\d{8}")


def class_order(folders: Sequence[str]) -> list[str]:
    """Returns the folders' names in the order of their classes: by number where all are numbers, else by alphabet."""
    return sorted(folders, key=int) if all(map(_is_number, folders)) else sorted(folders)


def match_classes(
    folders: Sequence[str], labels: Sequence[str], classes: int | None, where: str
) -> tuple[dict[str, int], list[str]]:
    """Finds the class of each folder of images.

    A folder's name is a label, or one in other case, with other spaces or in the plural, or one of the synonyms that a
    label lists between commas; or the number of a class. Where there are no such labels, a folder for each class is
    taken in the order of torchvision's ImageFolder.

    Args:
        folders: their names. labels: the network's class names; may be empty.
        classes: how many classes the network has; None if that is not known.
        where: the folder of the folders, for errors.

    Returns:
        The index of its class by each folder's name; and what was forgiven, as lines for the user.

    Raises:
        UsageError: names each folder that is no class, or two that are the same one.
    """
    exact = {_composed(label): index for index, label in enumerate(labels)}
    if all(_composed(name) in exact for name in folders):
        return _distinct({name: exact[_composed(name)] for name in folders}, where), []
    count = len(labels) or classes
    if all(map(_is_number, folders)) and not any(map(_is_number, labels)):
        return _numbered(folders, count, where)
    if count == len(folders) and (not labels or all(map(_SYNSET.fullmatch, folders))):
        order = class_order(folders)
        return {name: index for index, name in enumerate(order)}, [
            f"the {count} folders of {where} are the classes in alphabetical order, as torchvision's ImageFolder has"
            f" them: {order[0]} is class 0"
        ]
    if not labels:
        raise UsageError(
            f"{where} has {len(folders)} class folders, and the network has {count or 'unnamed'} classes",
            hint="give the network labels (`import` or `export` with --labels), or a folder for each class",
        )
    return _forgiving(folders, labels, where)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _composed(name: str) -> str:
    """Names of files come with accents apart from their letters on some systems."""
    return unicodedata.normalize("NFC", name)


def _numbered(folders: Sequence[str], count: int | None, where: str) -> tuple[dict[str, int], list[str]]:
    indices = {name: int(name) for name in folders}
    beyond = [name for name, index in indices.items() if count is not None and index >= count]
    if beyond:
        raise UsageError(
            f"{where} has folders with numbers that are no class: {', '.join(beyond)}",
            facts={"classes": f"0 to {(count or 0) - 1}"},
            hint="name each folder as its label, or by its number from 0",
        )
    return _distinct(indices, where), [f"the folders of {where} are taken as the numbers of classes, from 0"]


def _forgiving(folders: Sequence[str], labels: Sequence[str], where: str) -> tuple[dict[str, int], list[str]]:
    names = {label: _forms(label) for label in labels}
    found, notes, unknown = {}, [], []
    for folder in folders:
        fitting = [label for label in labels if _composed(label) == _composed(folder)]
        fitting = fitting or [label for label in labels if _forms(folder) & names[label]]
        if len(fitting) != 1:
            unknown.append(folder)
            continue
        found[folder] = labels.index(fitting[0])
        if folder != fitting[0]:
            notes.append(f"the folder {folder!r} of {where} is taken for the class {fitting[0]!r}")
    if unknown:
        raise _unknown_error(unknown, [name for name in labels if labels.index(name) not in found.values()], where)
    return _distinct(found, where), notes


def _forms(name: str) -> set[str]:
    """The ways to write a name, each in small letters and single spaces, in the singular and as it is."""
    forms = set()
    for part in (name, *name.split(",")):
        plain = re.sub(r"[\s_-]+", " ", _composed(part).casefold()).strip()
        forms |= {plain, *(plain.removesuffix(end) + new for end, new in _PLURALS if plain.endswith(end))}
    return forms - {""}


_PLURALS = (("ies", "y"), ("es", ""), ("s", ""))


def _unknown_error(unknown: Sequence[str], without: Sequence[str], where: str) -> UsageError:
    """`without`: the labels that have no folder."""
    near = {name: difflib.get_close_matches(name, without, n=1) for name in unknown}
    guesses = ", ".join(f"{name} for {match[0]}" for name, match in near.items() if match)
    return UsageError(
        f"{where} has class folders that are none of the network's labels: {', '.join(unknown)}",
        facts={"labels without a folder": shortened(without, 20) or "none"},
        hint="name each folder as its label, or move it away" + (f"; did you mean: {guesses}?" if guesses else ""),
    )


def _distinct(indices: Mapping[str, int], where: str) -> dict[str, int]:
    by_class: dict[int, list[str]] = {}
    for name, index in indices.items():
        by_class.setdefault(index, []).append(name)
    for index, names in by_class.items():
        if len(names) > 1:
            raise UsageError(
                f"{where} has several folders of class {index}: {', '.join(names)}", hint="make them one folder"
            )
    return dict(indices)
