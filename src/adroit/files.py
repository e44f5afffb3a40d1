"""Reads and writes files; each is written whole or not at all."""

from __future__ import annotations

import codecs
import ctypes
import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adroit.errors import AdroitError, OutOfResource, UsageError
from adroit.text import ESCAPE


def _write_error(path: Path, error: OSError) -> AdroitError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfResource(f"the disk is full: cannot write {path}", hint="free some space and run again")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return UsageError(f"cannot write {path}: a part of its path is a file", hint="give another path")
    return UsageError(f"cannot write {path}: {error.strerror}", hint="give a folder that you may write to")


def check_writable(path: Path) -> None:
    """Checks before long work that a file can be put at `path`; raises as `write_bytes` does."""
    try:
        path = _target(path)
        if path.is_dir():
            raise UsageError(f"cannot write {path}: it is a folder")
        if _is_special(path):
            if not os.access(path, os.W_OK):
                raise UsageError(f"cannot write {path}: permission denied", hint="give another path")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        _temporary_file(path).unlink()
    except OSError as error:
        raise _write_error(path, error) from error


def _target(path: Path) -> Path:
    """Where links lead: what they point at is written, and they stay."""
    return Path(os.path.realpath(path))


def _is_special(path: Path) -> bool:
    """Whether `path` is a device, a pipe or a socket, which is written into and not replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def _replacing(path: Path, make_temporary: Callable[[Path], Path]) -> Iterator[Path]:
    """Yields a temporary sibling of `path` and moves it there if the body succeeds."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = make_temporary(path)
        yield temporary
        if path.is_dir():
            if not _exchange(temporary, path):
                _move_in_two_steps(temporary, path)
        else:
            if path.exists():
                shutil.copymode(path, temporary)
            os.replace(temporary, path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two folders in one step, so that a process killed at any moment leaves one of them whole in each place.

    Returns whether this system and file system can (Linux's renameat2).
    """
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    current_folder, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(current_folder, os.fsencode(one), current_folder, os.fsencode(other), exchange) == 0)


def _move_in_two_steps(temporary: Path, path: Path) -> None:
    """Sets the old folder aside, so that it survives a failure."""
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


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}")


def _temporary_file(path: Path) -> Path:
    """Makes an empty file beside `path`, with the permissions that the user's umask leaves."""
    temporary = _temporary_name(path)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary


def _temporary_folder(path: Path) -> Path:
    temporary = _temporary_name(path)
    temporary.mkdir()
    return temporary


def atomic_folder(path: Path) -> Any:
    """Opens, as a context manager, a temporary folder that becomes `path` if the body succeeds, replacing an old one.

    Raises:
        UsageError: `path` cannot be written.
        OutOfResource: the disk is full.
    """
    return _replacing(_target(path), _temporary_folder)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path`, whole or not at all; into a device or pipe as it is. Raises as `atomic_folder` does."""
    check_writable(path)
    if _is_special(path):
        try:
            path.write_bytes(data)
        except OSError as error:
            raise _write_error(path, error) from error
        return
    with _replacing(_target(path), _temporary_file) as temporary, open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_text(path: Path, what: str) -> str:
    """Reads text in UTF-8, or in UTF-16 where it begins with that one's mark, as Windows writes it; without marks.

    Raises:
        UsageError: the file is missing, unreadable or in another encoding; `what` names its role.
    """
    return decoded(read_bytes(path, what), path, what)


def read_bytes(path: Path, what: str) -> bytes:
    """Reads a file; raises UsageError where it is missing or unreadable; `what` names its role."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{what} is missing: {path}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{what} cannot be read: {path}", facts={"reason": reason(error)}) from error


def decoded(content: bytes, path: object, what: str) -> str:
    """As `read_text`, of a file that was read; `path` is for the error."""
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{what} cannot be read: {path}", facts={"reason": reason(error)}, hint="save it as UTF-8 text"
        ) from error


def reason(error: Exception) -> str:
    """What an error says, without the path that its message names again."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


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
    write_bytes(path, json_text(value).encode(errors=ESCAPE))


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UsageError: the file is missing, unreadable or not a JSON object; `what` names its role.
    """
    try:
        value = json.loads(read_text(path, what))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} cannot be read: {path}", facts={"reason": error}) from error
    if not isinstance(value, dict):
        raise UsageError(f"{what} is not a JSON object: {path}")
    return value


def sha256(path: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file's bytes; raises UsageError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}", facts={"reason": reason(error)}) from error
