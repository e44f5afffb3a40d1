"""The command `adroit export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import adroit
from adroit.deploy.cli.text import describe_agreement
from adroit.text import progress

if TYPE_CHECKING:
    from adroit.deploy.routing.specialize import Specialization


class RoutingChoice(StrEnum):
    """How a network with gates runs."""

    masked = "masked"
    if_ = "if"
    static = "static"


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="DIR", help="A checkpoint, from `adroit import` or `adroit train`.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="REPOSITORY", help="The model repository.")],
    name: Annotated[str | None, typer.Option(help="Name of the deployment; the architecture's if not given.")] = None,
    routing: Annotated[
        RoutingChoice | None,
        typer.Option(help="How a routed network runs: if skips what its gates close (default), masked computes all."),
    ] = None,
    route: Annotated[
        str | None,
        typer.Option(
            metavar="all|none|common|NAME|FILE",
            help="Bake in one route; implies --routing static. common: the paths that most images of --data use;"
            " NAME: fcn-32s-like, deeplabv3-like, u-net-like, hrnetv2-like or auto-deeplab-like; FILE: JSON.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="With --route: images to choose common by, and to measure agreement on."),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Of the images that use a path of the common route, at least.")
    ] = 0.5,
    gate_threshold: Annotated[
        float | None, typer.Option(min=0.0, help="Bake the gates' threshold in, and leave its input out.")
    ] = None,
    portable: Annotated[bool, typer.Option("--portable", help="Standard ONNX operators only.")] = False,
) -> None:
    """Write a deployment: ONNX with adroit's operators, preprocessing, provenance."""
    from adroit.deploy.deployment.names import check_name
    from adroit.models.checkpoints.checkpoint import CheckpointConfig

    deployment = adroit.export(
        checkpoint,
        output / check_name(name or CheckpointConfig.read(checkpoint).architecture),
        portable=portable,
        routing=routing.value if routing else None,
        route=route,
        images=data,
        share=share,
        gate_threshold=gate_threshold,
        on_route=_show_route,
        progress=progress("comparing"),
    )
    nodes = ", ".join(f"{operator.nodes} {name}" for name, operator in deployment.info.operators.items())
    print(f"{deployment.path}: {nodes or 'standard operators only'}")


def _show_route(special: Specialization) -> None:
    nodes = special.route.space.nodes
    print(f"route {special.name}: {sum(map(special.route.is_open, nodes))} of {len(nodes)} nodes compute")
    if special.agreement:
        print(describe_agreement(special.agreement))
