"""Architectures that a user's own recipe names by a callable; what a checkpoint's folder names is never imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adroit.models.networks.architectures import Architecture
from adroit.models.networks.source import callable_from_source


def factory_architecture(source: str, folder: Path, arguments: Mapping[str, Any], **described: Any) -> Architecture:
    """Imports a callable, and describes the network that it makes.

    Args:
        source: FILE.py:CALLABLE, relative to `folder`, or package.module:CALLABLE. It is the architecture's name.
        arguments: the recipe's; each becomes one that the architecture takes.
        described: what else Architecture has: input_size, any_size, preprocessing, task.

    Raises:
        UsageError: no such callable, or its module cannot be imported.
    """
    function = callable_from_source(source, folder)
    return Architecture(source, function, defaults={**_defaults(function), **arguments}, **described)


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: p.default for p in parameters if p.kind in named and p.default is not p.empty}
