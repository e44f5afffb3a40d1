"""Options that several commands share, with one text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adroit.deploy.runtimes.choices import OperatorForm

DeploymentPath = Annotated[Path, typer.Argument(metavar="DEPLOYMENT", help="A deployment: REPOSITORY/NAME.")]
ModelPath = Annotated[
    Path,
    typer.Argument(
        metavar="DEPLOYMENT", help="A deployment, REPOSITORY/NAME, or an ONNX file of adroit's or anybody's."
    ),
]
DataPath = Annotated[
    str,
    typer.Option(
        metavar="DATA",
        help="A folder of images (flat, or one folder per class), one image, an .npz with images and"
        " labels (FILE.npz:PART reads PART_images); or an .npz with the network's inputs by name.",
    ),
]
Replace = Annotated[
    bool,
    typer.Option("--replace", help="Delete builds, tables and files of an old deployment of that name."),
]
FirstImages = Annotated[int | None, typer.Option("--images", min=1, help="Use the first so many images only.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads within one run; the runtime decides if not given.")]
GateThreshold = Annotated[
    float, typer.Option(min=0.0, help="Of a routed network: paths whose gate is not above it are closed.")
]
Gflops = Annotated[
    float | None,
    typer.Option(help="Hold the mean image to so many operations / 1e9, by the table of `adroit budget`."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Provider = Annotated[
    list[str] | None, typer.Option(help="ONNX Runtime execution provider; repeat in order of preference.")
]
Operators = Annotated[OperatorForm, typer.Option(help="Native kernels, or the portable bodies (slow, any machine).")]
BuildVersion = Annotated[
    int | None,
    typer.Option(min=1, help="Which build: TensorRT's newest, or the exported model in ONNX Runtime, if not given."),
]
CudaGraph = Annotated[bool, typer.Option("--cuda-graph", help="TensorRT: replay the work as one CUDA graph.")]
AllowHostCode = Annotated[
    bool, typer.Option("--allow-host-code", help="TensorRT: load version-compatible plans, which carry code.")
]
