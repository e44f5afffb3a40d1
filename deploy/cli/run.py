"""The command `adroit run`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

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


def run(
    deployment: ModelPath,
    data: DataPath,
    images: FirstImages = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.npz", help="Where the outputs go.")
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Print so many most probable labels of each image.")] = 0,
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
    """Run a deployment on images; write its outputs as named arrays, print the most probable labels."""
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
    rows = list(zip(result.names, result.top(top), strict=True))
    if as_json:
        values = [
            {"image": name, "predictions": [dataclasses.asdict(prediction) for prediction in predictions]}
            for name, predictions in rows
        ]
        print(files.json_text(values), end="")
        return
    for name, predictions in rows:
        print(f"{name}: " + ", ".join(f"{p.label} {p.probability:.1%}" for p in predictions))
