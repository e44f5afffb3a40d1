"""The command `adroit export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import adroit
from adroit.deploy.cli.network_options import (
    ChannelOrder,
    CropText,
    FixedSize,
    ImageSizeText,
    LabelsFile,
    MeanText,
    NamedInputs,
    NetworkArgument,
    NoAdopt,
    ResizeText,
    StdText,
    TaskName,
    UsualDimensions,
    WeightsFile,
    WeightsKey,
    read_argument,
    read_dimension,
    read_labels,
    read_preprocessing,
    read_square,
)
from adroit.deploy.cli.options import Replace
from adroit.deploy.cli.text import describe_agreement
from adroit.deploy.deployment.names import check_name
from adroit.text import progress

if TYPE_CHECKING:
    from adroit.deploy.routing.specialize import Specialization


class RoutingChoice(StrEnum):
    """How a network with gates runs."""

    masked = "masked"
    if_ = "if"
    static = "static"


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A network: FILE.py:CALLABLE, package.module:CALLABLE, or a checkpoint of `adroit import` or `train`.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="REPOSITORY", help="The model repository.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the deployment; the callable's or the architecture's if not given.")
    ] = None,
    weights: WeightsFile = None,
    weights_key: WeightsKey = None,
    argument: NetworkArgument = None,
    size: ImageSizeText = None,
    fixed_size: FixedSize = False,
    task: TaskName = None,
    labels: LabelsFile = None,
    channels: ChannelOrder = None,
    resize: ResizeText = None,
    crop: CropText = None,
    mean: MeanText = None,
    std: StdText = None,
    input_: NamedInputs = None,
    dimension: UsualDimensions = None,
    no_adopt: NoAdopt = False,
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
    replace: Replace = False,
    portable: Annotated[bool, typer.Option("--portable", help="Standard ONNX operators only.")] = False,
) -> None:
    """Write a deployment: ONNX with adroit's operators, preprocessing, provenance."""
    from adroit.deploy.export.inputs import read_input

    deployment = adroit.export(
        source,
        output / check_name(name or _default_name(source)),
        labels=read_labels(labels) or None,
        portable=portable,
        routing=routing.value if routing else None,
        route=route,
        images=data,
        share=share,
        gate_threshold=gate_threshold,
        replace=replace,
        on_route=_show_route,
        progress=progress("comparing"),
        weights=weights,
        weights_key=weights_key,
        arguments=dict(map(read_argument, argument or [])) or None,
        size=read_square("size", size),
        fixed_size=fixed_size,
        task=task,
        preprocessing=read_preprocessing(channels, resize, crop, mean, std),
        inputs=[read_input(text) for text in input_ or []],
        dimensions=dict(map(read_dimension, dimension or [])),
        adopt=not no_adopt,
        on_note=print,
    )
    nodes = ", ".join(f"{operator.nodes} {name}" for name, operator in deployment.info.operators.items())
    print(f"{deployment.path}: {nodes or 'standard operators only'}")


def _default_name(source: str) -> str:
    from adroit.models.checkpoints.checkpoint import CheckpointConfig
    from adroit.models.networks.source import is_source

    if is_source(source):
        return source.rpartition(":")[2]
    return CheckpointConfig.read(Path(source)).architecture


def _show_route(special: Specialization) -> None:
    nodes = special.route.space.nodes
    print(f"route {special.name}: {sum(map(special.route.is_open, nodes))} of {len(nodes)} nodes compute")
    if special.agreement:
        print(describe_agreement(special.agreement))
