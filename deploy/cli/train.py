"""`adroit train`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.training.loop import Epoch


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file (TOML), or the name of one of ours.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the checkpoint.")],
) -> None:
    """Train a network as a recipe says, and write a checkpoint."""
    from models.training.loop import train as run_training
    from models.training.recipe import read_recipe

    read, text = read_recipe(recipe)
    result = run_training(read, text, output, _report)
    print(f"{output}: {read.architecture}, {result.accuracy:.2%} of the images held out are right")


def _report(epoch: Epoch) -> None:
    line = f"epoch {epoch.number}/{epoch.epochs}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}"
    print(line, file=sys.stderr, flush=True)
