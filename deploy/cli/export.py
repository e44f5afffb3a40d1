"""`adroit export`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="DIR", help="A checkpoint, from `adroit import` or `adroit train`.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="REPOSITORY", help="The model repository.")],
    name: Annotated[str | None, typer.Option(help="Name of the entry; the architecture's if not given.")] = None,
    portable: Annotated[bool, typer.Option("--portable", help="Standard ONNX operators only.")] = False,
) -> None:
    """Write a deployment: ONNX with adroit's operators, preprocessing, provenance."""
    from deploy.export.entry import export_entry

    entry = export_entry(checkpoint, output, name, "portable" if portable else "operators")
    found = ", ".join(f"{entry['nodes']} {name}" for name, entry in entry.info.operators.items())
    print(f"{entry.path}: {found or 'standard operators only'}")
