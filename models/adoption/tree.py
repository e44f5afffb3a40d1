"""The places of modules in a network: registered ones, and those in plain lists, tuples and dictionaries.

Code that keeps `self.stages = [self.layer1, self.layer2]` calls its layers through the list. A module that is
replaced must be replaced there too, or the network goes on with the one that it had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

_PYTORCH = set(vars(nn.Module()))


def walk(root: nn.Module) -> Iterator[tuple[nn.Module, tuple[str, ...]]]:
    """Yields each module of `root` once, in the order of `root.modules()`, with its paths.

    The path of `root` is "", that of a module in a plain list "stages[0]". What a shared module holds has its paths
    under the first place of that module. What torch.jit compiled is left out.
    """
    places: dict[int, tuple[nn.Module, list[str]]] = {}
    _collect(root, "", places)
    for module, paths in places.values():
        yield module, tuple(paths)


def _collect(module: nn.Module, path: str, places: dict[int, tuple[nn.Module, list[str]]]) -> None:
    if isinstance(module, torch.jit.ScriptModule):  # compiled as a whole: nothing in it can be replaced
        return
    known = id(module) in places
    places.setdefault(id(module), (module, []))[1].append(path)
    if not known:
        for name, child in _children(module):
            _collect(child, f"{path}.{name}" if path else name, places)


def replace_modules(root: nn.Module, replacements: Mapping[int, nn.Module]) -> nn.Module:
    """Puts each replacement, by the `id` of what it replaces, in all places of it; returns the new root."""
    for module, _ in list(walk(root)):
        for name, child in module._modules.items():
            if child is not None and id(child) in replacements:
                module._modules[name] = replacements[id(child)]
        for name, value in vars(module).items():
            if name not in _PYTORCH:
                vars(module)[name] = _replaced(value, replacements)
    return replacements.get(id(root), root)


def _children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module._modules.items():
        if child is not None:
            yield name, child
    for name, value in vars(module).items():
        if name not in _PYTORCH:
            yield from _contained(name, value)


def _contained(name: str, value: Any) -> Iterator[tuple[str, nn.Module]]:
    """Modules in an attribute's value, however deep in lists, tuples and dictionaries."""
    if isinstance(value, nn.Module):
        yield name, value
    elif type(value) in (list, tuple):
        for i, item in enumerate(value):
            yield from _contained(f"{name}[{i}]", item)
    elif type(value) is dict:
        for key, item in value.items():
            yield from _contained(f"{name}[{key!r}]", item)


def _replaced(value: Any, replacements: Mapping[int, nn.Module]) -> Any:
    """`value` with the modules in it replaced; lists and dictionaries stay the same objects."""
    if isinstance(value, nn.Module):
        return replacements.get(id(value), value)
    if type(value) is list:
        value[:] = [_replaced(item, replacements) for item in value]
    elif type(value) is tuple:
        return tuple(_replaced(item, replacements) for item in value)
    elif type(value) is dict:
        for key, item in value.items():
            value[key] = _replaced(item, replacements)
    return value
