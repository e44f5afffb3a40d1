"""Renders the template of a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adroit import files
from adroit.text import readable_count


def write_html(path: Path, template: str, **values: Any) -> None:
    """Renders deploy/report/templates/<template>.html to `path`, whole or not at all.

    Raises:
        UsageError: `path` cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("adroit.deploy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = readable_count
    files.write_bytes(path, environment.get_template(f"{template}.html").render(**values).encode())
