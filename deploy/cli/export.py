"""`adroit export`"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import UsageError

if TYPE_CHECKING:
    from deploy.export.entry import Routing
    from models.routing.route import Route


class RoutingChoice(StrEnum):
    masked = "masked"
    if_ = "if"
    static = "static"


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="DIR", help="A checkpoint, from `adroit import` or `adroit train`.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="REPOSITORY", help="The model repository.")],
    name: Annotated[str | None, typer.Option(help="Name of the entry; the architecture's if not given.")] = None,
    routing: Annotated[
        RoutingChoice | None,
        typer.Option(help="How a routed network runs: if skips what its gates close (default), masked computes all."),
    ] = None,
    route: Annotated[
        str | None, typer.Option(metavar="all|none|FILE", help="Bake in one route (JSON); implies --routing static.")
    ] = None,
    gate_threshold: Annotated[
        float | None, typer.Option(min=0.0, help="Bake the gates' threshold in, and leave its input out.")
    ] = None,
    portable: Annotated[bool, typer.Option("--portable", help="Standard ONNX operators only.")] = False,
) -> None:
    """Write a deployment: ONNX with adroit's operators, preprocessing, provenance."""
    from deploy.export.entry import export_entry

    asked = _routing(checkpoint, routing, route, gate_threshold)
    entry = export_entry(checkpoint, output, name, "portable" if portable else "operators", asked)
    found = ", ".join(f"{entry['nodes']} {name}" for name, entry in entry.info.operators.items())
    print(f"{entry.path}: {found or 'standard operators only'}")


def _routing(
    checkpoint: Path, form: RoutingChoice | None, route: str | None, threshold: float | None
) -> Routing | None:
    from deploy.export.entry import Routing

    if route is None:
        return None if form is None and threshold is None else Routing(form.value if form else "if", None, threshold)
    if form not in (None, RoutingChoice.static):
        raise UsageError(f"--route bakes a route in, which --routing {form} does not")
    return Routing("static", _read_route(checkpoint, route), threshold)


def _read_route(checkpoint: Path, route: str) -> Route:
    from models import files
    from models.architectures import architecture_named
    from models.checkpoint import CheckpointConfig
    from models.routing.route import Route
    from models.routing.space import RoutingSpace

    if route not in ("all", "none"):
        return Route.from_json(files.read_json(Path(route), "the route"))
    config = CheckpointConfig.read(checkpoint)
    arguments = {**architecture_named(config.architecture).defaults, **config.arguments}
    if "depth" not in arguments:
        raise UsageError(f"{config.architecture} has no routing space", hint="leave --route out")
    space = RoutingSpace(arguments["depth"], arguments["width"])
    return Route.all_open(space) if route == "all" else Route.none(space)
