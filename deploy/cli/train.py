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
    training: Annotated[str, typer.Option(metavar="DATA", help="Training images, instead of the recipe's.")] = "",
    validation: Annotated[str, typer.Option(metavar="DATA", help="Images held out, instead of the recipe's.")] = "",
    folder: Annotated[
        str, typer.Option(metavar="DIR", help="Top folder of a segmentation set, instead of the recipe's.")
    ] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's.")] = None,
) -> None:
    """Train a network as a recipe says, and write a checkpoint."""
    from models.training.loop import train as run_training
    from models.training.recipe import read_recipe

    read, text = read_recipe(recipe)
    read = read.with_overrides(folder=folder, training=training, validation=validation, seed=seed)
    result = run_training(read, text, output, _report)
    if result is None:  # a process of several, and not the first
        return
    print(f"{output}: {read.architecture}, {result.accuracy:.2%} {result.measure}")
    for name, value in result.figures.items():
        print(f"  {name}  {value:.6g}")


def _report(epoch: Epoch) -> None:
    line = f"epoch {epoch.number}/{epoch.epochs}  loss {epoch.loss:.4f}"
    if epoch.accuracy is not None:
        line += f"  accuracy {epoch.accuracy:.2%}"
    print(line, file=sys.stderr, flush=True)
