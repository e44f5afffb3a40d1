"""Why an operator is not found among those that a library or registry has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

# Name, version and namespace: by these three TensorRT finds an operator.
Triple = tuple[str, str, str]


def near_miss(wanted: Triple, found: Sequence[Triple]) -> str:
    """What `found` has instead, to be read after its name; "" where it has `wanted` itself."""
    name, version, namespace = wanted
    if wanted in found:
        return ""
    same_name = [triple for triple in found if triple[0] == name]
    if any(n == namespace for _, _, n in same_name):
        return f"has version {_listed(v for _, v, _ in same_name)}, the nodes ask for {version}"
    if any(v == version for _, v, _ in same_name):
        return f"has it in namespace {_listed(repr(n) for _, _, n in same_name)}, the nodes ask for {namespace!r}"
    if same_name:
        return f"has {_listed(f'version {v} in namespace {n!r}' for _, v, n in same_name)}"
    near = _near(name, sorted({n for n, _, _ in found}))
    return f"has no such operator; near is {_listed(near)}" if near else "has no such operator"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(set(words)))


def _near(name: str, names: list[str]) -> list[str]:
    """Names that differ by case or little else."""
    same_letters = [n for n in names if n.casefold() == name.casefold()]
    return same_letters or difflib.get_close_matches(name, names, n=2, cutoff=0.8)
