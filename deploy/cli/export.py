"""`adroit export`"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adroit.deploy.cli.text import describe_agreement
from adroit.errors import UsageError
from adroit.text import progress

if TYPE_CHECKING:
    from adroit.deploy.export.deployment import Routing


class RoutingChoice(StrEnum):
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
    from adroit.deploy.export.deployment import export_deployment

    asked = _routing(checkpoint, routing, route, data, share, gate_threshold)
    deployment = export_deployment(checkpoint, output, name, "portable" if portable else "operators", asked)
    found = ", ".join(f"{deployment['nodes']} {name}" for name, deployment in deployment.info.operators.items())
    print(f"{deployment.path}: {found or 'standard operators only'}")


def _routing(
    checkpoint: Path,
    form: RoutingChoice | None,
    route: str | None,
    data: str | None,
    share: float,
    threshold: float | None,
) -> Routing | None:
    from adroit.deploy.export.deployment import Routing
    from adroit.deploy.routing.specialize import specialize
    from adroit.models.data.images import read_images

    if route is None and data is not None:
        raise UsageError("--data is for choosing a route and measuring it", hint="give --route common")
    if route is None:
        return None if form is None and threshold is None else Routing(form.value if form else "if", None, threshold)
    if form not in (None, RoutingChoice.static):
        raise UsageError(f"--route bakes a route in, which --routing {form} does not")
    images = read_images(data) if data else None
    found = specialize(checkpoint, route, images, share, threshold or 0.0, progress("comparing"))
    nodes = found.route.space.nodes
    print(f"route {route}: {sum(map(found.route.is_open, nodes))} of {len(nodes)} nodes compute")
    if found.agreement:
        print(describe_agreement(found.agreement))
    return Routing("static", None if route == "all" else found.route, threshold, found.to_json())
