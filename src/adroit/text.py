"""Text for people: aligned tables, short numbers, and progress on standard error."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Sequence

# How the encoding of an output writes what it lacks, as bytes of a file name that are no UTF-8: the way JSON does.
ESCAPE = "adroit-escape"


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end


codecs.register_error(ESCAPE, _escape)


def readable_count(value: float) -> str:
    """Writes 12345678 as 12.35 M, with four digits at most."""
    for unit in ("", "k", "M", "G", "T"):
        if abs(value) < 1000 or unit == "T":
            return f"{value:.4g} {unit}".strip()
        value /= 1000
    raise AssertionError


def shortened(names: Sequence[str], count: int = 5) -> str:
    """Writes the first names, and how many more there are."""
    more = f", and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligns columns: the first to the left, the others to the right; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *others = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines)


def progress(what: str) -> Callable[[int, int], None]:
    """Makes a counter on standard error: one line that moves on a terminal, a line each quarter elsewhere."""
    shown = [-1]

    def show(done: int, total: int) -> None:
        quarter = 4 * done // total
        if sys.stderr.isatty():
            print(f"\r{what} {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif quarter != shown[0]:
            print(f"{what} {done}/{total}", file=sys.stderr, flush=True)
        shown[0] = quarter

    return show
