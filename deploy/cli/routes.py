"""`adroit routes`"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adroit import files
from adroit.deploy.cli.options import AsJson, GateThreshold, Operators, Provider, Threads
from adroit.deploy.cli.text import describe_agreement, describe_statistics
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName
from adroit.errors import UsageError
from adroit.text import progress, table

if TYPE_CHECKING:
    from adroit.deploy.deployment.deployment import Deployment
    from adroit.deploy.routing.collect import RouteSample
    from adroit.deploy.routing.replay import Replayed
    from adroit.deploy.runtimes.options import RuntimeOptions
    from adroit.models.data.images import ImageSet

    Found = tuple[list[RouteSample], list[Replayed]]


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
        typer.Option("--output", "-o", metavar="FOLDER", help="Where pictures (SVG, PNG) and routes (JSON) go."),
    ] = None,
    gate_threshold: GateThreshold = 0.0,
    runtime: Annotated[RuntimeName, typer.Option(help="What runs the deployment.")] = RuntimeName.onnxruntime,
    operators: Operators = OperatorForm.native,
    threads: Threads = None,
    provider: Provider = None,
    as_json: AsJson = False,
) -> None:
    """Draw the routes that images take, and a data set's use of every path."""
    if not image and data is None:
        raise UsageError("there are no images to show the routes of", hint="name images, or give --data")
    from adroit.deploy.deployment.deployment import Deployment
    from adroit.deploy.routing.diagram_files import image_pages, usage_page, write_pages
    from adroit.deploy.routing.replay import Agreement
    from adroit.deploy.routing.statistics import route_statistics
    from adroit.deploy.runtimes.options import RuntimeOptions
    from adroit.models.data.images import image_files, read_images

    read = Deployment.read(deployment)
    if output is not None:
        files.check_writable(output / "usage.svg")
    options = RuntimeOptions(runtime, operators, threads, provider or ("CPUExecutionProvider",))
    single, replayed = _run(read, options, image_files(image), gate_threshold, route) if image else ([], [])
    many, also_replayed = _run(read, options, read_images(data), gate_threshold, route) if data else ([], [])
    statistics = route_statistics(read, many, gate_threshold) if many else None
    if output is not None:
        pages = image_pages(single) + ([usage_page(statistics)] if statistics else [])
        print(f"{len(write_pages(output, pages))} files in {output}", file=sys.stderr)
    if as_json:
        values = {
            "images": [_told(sample) for sample in single],
            "replayed": [_told_replay(r) for r in (*replayed, *also_replayed)],
            "usage": statistics.to_json() if statistics else None,
        }
        print(files.json_text(values), end="")
        return
    parts = [_image_table(single)] if single else []
    parts += [describe_statistics(statistics)] if statistics else []
    parts += [describe_agreement(Agreement.of([*replayed, *also_replayed]))] if route else []
    print("\n\n".join(parts))


def _run(
    deployment: Deployment, options: RuntimeOptions, images: ImageSet, gate_threshold: float, route: str | None
) -> Found:
    from adroit.deploy.routing.collect import collect_routes
    from adroit.deploy.routing.replay import replay_deployment

    if route is None:
        return collect_routes(deployment, options, images, gate_threshold, progress=progress("running")), []
    return replay_deployment(deployment, images, route, gate_threshold, progress("replaying"))


def _told(sample: RouteSample) -> dict[str, Any]:
    return {
        "image": sample.image,
        "size": list(sample.size),
        "operations": dataclasses.asdict(sample.operations),
        "paper": sample.paper.total,
        "route": sample.route.to_json(),
        "gates": sample.gates.tolist(),
    }


def _told_replay(replayed: Replayed) -> dict[str, Any]:
    values = dataclasses.asdict(replayed)
    del values["gates"]
    return values


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
