"""Networks by the name of their source: `FILE.py:CALLABLE` or `package.module:CALLABLE`."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from adroit.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

HINT = "give FILE.py:CALLABLE or package.module:CALLABLE"


def is_source(text: str) -> bool:
    """Whether `text` names a callable, and is not the path of a folder."""
    module, colon, name = text.rpartition(":")
    return bool(colon and module) and name.isidentifier() and not Path(text).exists()


def network_from_source(
    source: str, arguments: Mapping[str, Any] | None = None, folder: Path | None = None
) -> nn.Module:
    """Calls what `source` names. The current folder is on Python's path meanwhile.

    Args:
        source: as the module's text. arguments: of the callable.
        folder: what the path of a FILE.py is relative to; the current folder if None.

    Raises:
        UsageError: no such file, module or callable; Python fails in it (the message names the line of the user's
            code); or it gives no torch.nn.Module.
    """
    return call_source(source, callable_from_source(source, folder), arguments or {})


def callable_from_source(source: str, folder: Path | None = None) -> Callable[..., Any]:
    """Imports what `source` names, without calling it; arguments and errors are those of `network_from_source`."""
    place, _, name = source.rpartition(":")
    if not place or not name.isidentifier():
        raise UsageError(f"{source!r} names no callable", hint=HINT)
    with _current_folder_on_path():
        return _attribute(_module(place, folder or Path()), name, source)


def call_source(source: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> nn.Module:
    """Calls what `callable_from_source` gave; errors are those of `network_from_source`."""
    from torch import nn

    _check_arguments(function, arguments, source)
    with _current_folder_on_path():
        try:
            network = function(**arguments)
        except Exception as error:  # the user's code may raise anything
            raise _fault(f"{source} cannot be called", error) from error
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"{source} gives {type(network).__name__}, not a torch.nn.Module",
            hint="name a class of a network, or a function that returns one",
        )
    return network


@contextlib.contextmanager
def _current_folder_on_path() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def _module(place: str, folder: Path) -> ModuleType:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name and (place == error.name or place.startswith(f"{error.name}.")):
                raise UsageError(f"there is no module {place}", facts={"missing": error.name}, hint=HINT) from error
            raise _fault(f"cannot import {place}", error) from error
        except Exception as error:  # the user's code may raise anything
            raise _fault(f"cannot import {place}", error) from error
    path = folder / place
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint=HINT)
    # Registered under its name, since dataclasses and pickle look classes up there, but never over a module in use.
    name = path.stem if path.stem not in sys.modules else f"_adroit_source_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        sys.modules.pop(name, None)
        raise _fault(f"cannot import {path}", error) from error
    return module


def _attribute(module: ModuleType, name: str, source: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if found is None:
        names = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        near = difflib.get_close_matches(name, names, n=1)
        raise UsageError(
            f"{source.rpartition(':')[0]} has no {name}", hint=f"did you mean {near[0]}?" if near else HINT
        )
    if not callable(found):
        raise UsageError(f"{source} is {type(found).__name__}, which cannot be called", hint=HINT)
    result: Callable[..., Any] = found
    return result


def _check_arguments(function: Callable[..., Any], arguments: Mapping[str, Any], source: str) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a callable without a signature: it says itself what it lacks
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise UsageError(
            f"{source}{signature} cannot be called with these arguments: {error}",
            hint="give --argument NAME=VALUE, or [arguments] in the recipe",
        ) from None


def _fault(what: str, error: Exception) -> UsageError:
    """Names the innermost line that is not of a library."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    where = {"line": f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}"} if frames else {}
    if isinstance(error, SyntaxError) and error.filename:
        where = {"line": f"{error.filename}:{error.lineno}"}
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return UsageError(what, facts={"reason": reason, **where})


def _is_users(file: str) -> bool:
    return not file.startswith("<") and "site-packages" not in file and file != __file__ and sys.prefix not in file
