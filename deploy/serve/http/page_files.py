"""The web page of `--page`: some files, sent as they are.

It needs no token, which a browser could not send with a URL; it holds nothing secret, and requests the token
from its user. Its policy lets it load and call nothing but this server, run no script but its
own, and appear in no other page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "page"
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page, with its content type and headers."""

    content: bytes
    kind: str
    headers: Mapping[str, str]


def page_files() -> dict[tuple[str, ...], PageFile]:
    """Return the files by the segments of their URLs; the root is the page."""
    files: dict[tuple[str, ...], PageFile] = {
        (path.name,): PageFile(path.read_bytes(), f"{_KINDS[path.suffix]}; charset=utf-8", _HEADERS)
        for path in _FOLDER.iterdir()
        if path.suffix in _KINDS
    }
    return {**files, (): files[("index.html",)]}
