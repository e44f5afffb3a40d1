"""The command `adroit import`."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated, Any

import typer

import adroit
from adroit.deploy.cli.network_options import WeightsKey, read_labels
from adroit.errors import UsageError


def import_(
    architecture: Annotated[str, typer.Argument(metavar="ARCHITECTURE", help="For example adder-resnet20.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The published checkpoint (.pth, .pt or .safetensors).")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the checkpoint.")],
    classes: Annotated[int | None, typer.Option(min=1, help="Number of classes where it is not the usual one.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Text file with one class name a line.")] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Of the network where it is not the usual one, as filter_size=5 or groups=2; repeat for several.",
        ),
    ] = None,
    weights_key: WeightsKey = None,
) -> None:
    """Read a published checkpoint, check every tensor, and write it as one of ours."""
    arguments = _read_arguments(architecture, argument or [])
    if classes is not None:
        arguments["classes"] = classes
    config = adroit.import_checkpoint(
        architecture, file, output, arguments=arguments, labels=read_labels(labels), weights_key=weights_key
    )
    table = f" ({config.source['key']})" if "key" in config.source else ""
    print(f"{output}: {config.architecture} from {file.name}{table}, sha256 {config.source['sha256'][:16]}")


def _read_arguments(architecture: str, texts: list[str]) -> dict[str, Any]:
    """Reads NAME=VALUE as the types that the network's arguments have."""
    from adroit.models.networks.architectures import architecture_named

    defaults = architecture_named(architecture).defaults
    arguments: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in defaults:
            raise UsageError(f"{architecture} has no argument {name!r}", facts={"known": ", ".join(defaults)})
        kind = type(defaults[name])
        try:
            if kind is bool:
                arguments[name] = {"true": True, "false": False}[value.lower()]
            else:
                arguments[name] = kind(value) if kind in (int, float, str) else ast.literal_eval(value)
        except (KeyError, ValueError, SyntaxError) as error:
            wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(
                kind, "a value as Python writes it"
            )
            raise UsageError(f"--argument {text}: the value must be {wanted}") from error
    return arguments
