"""The standard streams of the program, as it needs them: open, and able to write every name of a file."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings

from adroit.errors import AdroitError, AdroitWarning, OutOfResource
from adroit.text import ESCAPE


def prepare_streams() -> None:
    """Opens streams that the parent closed, and lets them escape what their encoding lacks; shows warnings as notes."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file that is opened would take its number, and receive what libraries print
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (for the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPE)
    show = warnings.showwarning

    def show_warning(message: Warning | str, category: type[Warning], *others: object) -> None:
        if issubclass(category, AdroitWarning):
            print(f"note: {message}", file=sys.stderr)
        else:
            show(message, category, *others)  # type: ignore[arg-type]

    warnings.showwarning = show_warning  # type: ignore[assignment]


def flush_output() -> AdroitError | None:
    """Writes what standard output still holds; returns the error where it takes no more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        _discard_output()
        return OutOfResource(f"cannot write standard output: {error.strerror}", hint="give its file some space")
    return None


def _discard_output() -> None:
    """Python flushes standard output once more when it ends, and would complain of the same fault."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
