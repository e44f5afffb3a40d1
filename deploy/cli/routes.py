"""The command `adroit routes`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import adroit
from adroit import files
from adroit.deploy.cli.options import AsJson, GateThreshold, Operators, Provider, Threads
from adroit.deploy.cli.text import describe_agreement, describe_statistics
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName
from adroit.text import progress, table

if TYPE_CHECKING:
    from adroit.deploy.routing.collect import RouteSample


def routes(
    deployment: Annotated[Path, typer.Argument(metavar="DEPLOYMENT", help="A routed deployment: REPOSITORY/NAME.")],
    image: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE...", help="Images whose routes are drawn.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Images, as other commands take them, for a map of their use.")
    ] = None,
    route: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Run them along this route in PyTorch, and compare; NAME and FILE as for `adroit export --route`.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where diagrams (SVG, PNG) and routes (JSON) go."),
    ] = None,
    gate_threshold: GateThreshold = 0.0,
    runtime: Annotated[RuntimeName, typer.Option(help="What runs the deployment.")] = RuntimeName.onnxruntime,
    operators: Operators = OperatorForm.native,
    threads: Threads = None,
    provider: Provider = None,
    as_json: AsJson = False,
) -> None:
    """Draw the routes that images take, and a data set's use of every path."""
    found = adroit.routes(
        deployment,
        image or (),
        data=data,
        route=route,
        output=output,
        gate_threshold=gate_threshold,
        progress=progress,
        runtime=runtime,
        operators=operators,
        threads=threads,
        providers=provider,
    )
    if output is not None:
        print(f"{len(found.written)} files in {output}", file=sys.stderr)
    if as_json:
        print(files.json_text(found.to_json()), end="")
        return
    parts = [_image_table(found.samples)] if found.samples else []
    parts += [describe_statistics(found.statistics)] if found.statistics else []
    parts += [describe_agreement(found.agreement)] if found.agreement else []
    print("\n\n".join(parts))


def _image_table(samples: Sequence[RouteSample]) -> str:
    from adroit.text import readable_count

    rows = [("image", "nodes that compute", "open paths", "operations", "by the paper's counting")]
    for sample in samples:
        space = sample.route.space
        rows.append(
            (
                sample.image,
                f"{sum(map(sample.route.is_open, space.nodes))} of {len(space.nodes)}",
                f"{sum(sample.route.open)} of {len(space.paths)}",
                readable_count(sample.operations.total),
                readable_count(sample.paper.total),
            )
        )
    return table(rows)
