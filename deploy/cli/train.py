"""The command `adroit train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import adroit
from adroit.deploy.cli.options import Threads
from adroit.errors import AdroitError
from adroit.models.training.options import Accelerator, RunOptions


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file (TOML), or the name of one of ours.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the checkpoint.")],
    training: Annotated[str, typer.Option(metavar="DATA", help="Training images, instead of the recipe's.")] = "",
    validation: Annotated[str, typer.Option(metavar="DATA", help="Images held out, instead of the recipe's.")] = "",
    folder: Annotated[str, typer.Option(metavar="DIR", help="Top folder of a data set, instead of the recipe's.")] = "",
    teacher: Annotated[
        str, typer.Option(metavar="CHECKPOINT", help="What methods learn from, instead of the recipe's.")
    ] = "",
    initial: Annotated[
        str, typer.Option(metavar="CHECKPOINT", help="Weights to begin with, instead of the recipe's.")
    ] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stood.")] = False,
    keep_every: Annotated[
        int, typer.Option(min=0, metavar="STEPS", help="Steps between two states for --resume; 0: an epoch.")
    ] = 0,
    accelerator: Annotated[Accelerator, typer.Option(help="auto: a GPU where there is one.")] = Accelerator.AUTO,
    devices: Annotated[int, typer.Option(min=1, help="GPUs, or processes on a CPU.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes for each device that read and augment images.")] = 0,
    threads: Threads = None,
    log: Annotated[Path | None, typer.Option(metavar="DIR", help="Write figures for TensorBoard there.")] = None,
) -> None:
    """Train a network as a recipe says, and write a checkpoint."""
    from adroit.deploy.cli.training_progress import open_progress
    from adroit.models.training.device import is_first_process

    is_first = is_first_process()
    try:
        with open_progress(log if is_first else None) as progress:
            result = adroit.train(
                recipe,
                output,
                folder=folder,
                training=training,
                validation=validation,
                teacher=teacher,
                initial=initial,
                seed=seed,
                threads=threads,
                options=RunOptions(accelerator, devices, workers, resume, keep_every, progress.begin, progress.step),
                on_epoch=progress.epoch,
            )
    except AdroitError as error:
        if is_first:
            raise
        raise typer.Exit(error.exit_code) from error  # the first process prints it
    if result is None:
        return
    print(f"{output}: {result.architecture}, {result.accuracy:.2%} {result.measure}")
    for name, value in result.figures.items():
        print(f"  {name}  {value:.6g}")
