"""`adroit import`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.errors import UsageError


def import_(
    architecture: Annotated[str, typer.Argument(metavar="ARCHITECTURE", help="For example adder-resnet20.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The published checkpoint (.pth, .pt or .safetensors).")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the checkpoint.")],
    classes: Annotated[int | None, typer.Option(min=1, help="Number of classes where it is not the usual one.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Text file with one class name a line.")] = None,
) -> None:
    """Read a published checkpoint, check every tensor, and write it as one of ours."""
    from models.importers import import_checkpoint

    arguments = {} if classes is None else {"classes": classes}
    config = import_checkpoint(architecture, file, output, arguments, _read_labels(labels))
    print(f"{output}: {config.architecture} from {file.name}, sha256 {config.source['sha256'][:16]}")


def _read_labels(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read labels {path}", facts={"reason": error}) from error
