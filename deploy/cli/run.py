"""The command `adroit run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import adroit
from adroit import files
from adroit.deploy.cli.options import (
    AllowHostCode,
    AsJson,
    BuildVersion,
    CudaGraph,
    DataPath,
    FirstImages,
    GateThreshold,
    Gflops,
    ModelPath,
    Operators,
    Provider,
    Threads,
)
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName
from adroit.errors import UsageError
from adroit.text import progress

if TYPE_CHECKING:
    from adroit.api.opened import RunResult


def run(
    deployment: ModelPath,
    data: DataPath,
    images: FirstImages = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where the outputs go: an .npz, or a .png of one image's classes."
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(min=0, help="Print so many most probable labels of each image, or largest classes.")
    ] = 0,
    runtime: Annotated[RuntimeName, typer.Option(help="What runs the network.")] = RuntimeName.onnxruntime,
    operators: Operators = OperatorForm.native,
    threads: Threads = None,
    provider: Provider = None,
    build: BuildVersion = None,
    cuda_graph: CudaGraph = False,
    allow_host_code: AllowHostCode = False,
    gate_threshold: GateThreshold = 0.0,
    gflops: Gflops = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a run.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Run a deployment on images; write its outputs, print the most probable labels or the pixels' classes."""
    if output is None and not top:
        raise UsageError("nothing to do with the outputs", hint="give --output FILE.npz, --top N, or both")
    result = adroit.run(
        deployment,
        data,
        output=output,
        limit=images,
        batch=batch,
        gate_threshold=gate_threshold,
        gflops=gflops,
        progress=progress("running"),
        runtime=runtime,
        operators=operators,
        threads=threads,
        providers=provider,
        version=build,
        cuda_graph=cuda_graph,
        allow_host_code=allow_host_code,
    )
    if not top:
        return
    rows = _ranked(result, top)
    if as_json:
        key, unit = ("shares", "share") if result.task == "segmentation" else ("predictions", "probability")
        values = [
            {"image": name, key: [{"label": label, unit: share} for label, share in row]}
            for name, row in zip(result.names, rows, strict=True)
        ]
        print(files.json_text(values), end="")
        return
    for name, row in zip(result.names, rows, strict=True):
        print(f"{name}: " + ", ".join(f"{label} {share:.1%}" for label, share in row))


def _ranked(result: RunResult, top: int) -> list[list[tuple[str, float]]]:
    """The labels of each image with their probabilities, or shares of the pixels; the largest first."""
    if result.task == "segmentation":
        return [[(each.label, each.share) for each in shares[:top]] for shares in result.shares()]
    return [[(each.label, each.probability) for each in predictions] for predictions in result.top(top)]
