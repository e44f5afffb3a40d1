"""Reads and writes files; each is written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adroit.errors import AdroitError, OutOfResource, UsageError


def _write_error(path: Path, error: OSError) -> AdroitError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfResource(f"the disk is full: cannot write {path}", hint="free some space and run again")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return UsageError(f"cannot write {path}: a part of its path is a file", hint="give another path")
    return UsageError(f"cannot write {path}: {error.strerror}", hint="give a folder that you may write to")


def check_writable(path: Path) -> None:
    """Checks before long work that a file can be put at `path`; raises as `write_bytes` does."""
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _temporary_file(path).unlink()
    except OSError as error:
        raise _write_error(path, error) from error


@contextmanager
def _replacing(path: Path, make_temporary: Callable[[Path], Path]) -> Iterator[Path]:
    """Yields a temporary sibling of `path` and moves it there if the body succeeds."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = make_temporary(path)
        yield temporary
        if path.is_dir():
            # A folder cannot be replaced in one step: set the old one aside, so that it survives a failure.
            aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old-")) / path.name
            try:
                os.replace(path, aside)
                try:
                    os.replace(temporary, path)
                except OSError:
                    os.replace(aside, path)
                    raise
            finally:
                shutil.rmtree(aside.parent, ignore_errors=True)
        else:
            os.replace(temporary, path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def _temporary_file(path: Path) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    os.chmod(name, 0o644)
    return Path(name)


def _temporary_folder(path: Path) -> Path:
    name = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.")
    os.chmod(name, 0o755)
    return Path(name)


def atomic_folder(path: Path) -> Any:
    """Opens, as a context manager, a temporary folder that becomes `path` if the body succeeds, replacing an old one.

    Raises:
        UsageError: `path` cannot be written.
        OutOfResource: the disk is full.
    """
    return _replacing(path, _temporary_folder)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path` atomically; raises as `atomic_folder` does."""
    check_writable(path)
    with _replacing(path, _temporary_file) as temporary, open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def json_text(value: Any) -> str:
    """Writes JSON as all our files hold it: indented, keys in the order given, one newline at the end.

    NaN and infinity, which JSON has no words for, become null.
    """
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def write_json(path: Path, value: Any) -> None:
    """Writes JSON as `json_text` has it; raises as `write_bytes`."""
    write_bytes(path, json_text(value).encode())


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UsageError: the file is missing, unreadable or not a JSON object; `what` names its role.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{what} is missing: {path}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{what} cannot be read: {path}", facts={"reason": error}) from error
    if not isinstance(value, dict):
        raise UsageError(f"{what} is not a JSON object: {path}")
    return value


def sha256(path: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
