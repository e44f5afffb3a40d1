"""`adroit run`"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adroit import files
from adroit.deploy.cli.options import (
    AllowHostCode,
    AsJson,
    BuildVersion,
    CudaGraph,
    DataPath,
    DeploymentPath,
    FirstImages,
    GateThreshold,
    Gflops,
    Operators,
    Provider,
    Threads,
)
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName
from adroit.errors import UsageError
from adroit.text import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray


def run(
    deployment: DeploymentPath,
    data: DataPath,
    images: FirstImages = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.npz", help="Where the outputs go.")
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Print so many most likely labels of each image.")] = 0,
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
    """Run a deployment on images; write its outputs as named arrays, print the likeliest labels."""
    if output is None and not top:
        raise UsageError("nothing to do with the outputs", hint="give --output FILE.npz, --top N, or both")
    from adroit.deploy.deployment.deployment import Deployment
    from adroit.deploy.deployment.predictions import likeliest
    from adroit.deploy.routing.budget.table import asked_threshold
    from adroit.deploy.runtimes.open import open_runtime
    from adroit.deploy.runtimes.options import RuntimeOptions
    from adroit.models.data.images import read_images

    read = Deployment.read(deployment)
    threshold = asked_threshold(read, gate_threshold, gflops)
    if output is not None:
        files.check_writable(output)
    image_set = read_images(data, read.info.labels).first(images)
    options = RuntimeOptions(
        runtime, operators, threads, provider or ("CPUExecutionProvider",), build, cuda_graph, allow_host_code
    )
    show = progress("running")
    outputs: dict[str, list[NDArray[Any]]] = {}
    with open_runtime(read, options) as opened:
        for where, x in image_set.batches(read.info.preprocessing, batch):
            for name, value in opened.run(read.feeds(x, threshold)).items():
                outputs.setdefault(name, []).append(value)
            show(where.stop, len(image_set))
    if output is not None:
        _save(output, outputs, image_set.names)
    if top:
        import numpy as np

        best_labels = likeliest(np.concatenate(outputs[read.info.outputs[0].name]), read.info.labels, top)
        rows = list(zip(image_set.names, best_labels, strict=True))
        if as_json:
            best_of = [
                {"image": name, "likeliest": [{"label": label, "share": share} for label, share in best]}
                for name, best in rows
            ]
            print(files.json_text(best_of), end="")
        else:
            for name, labels in rows:
                print(f"{name}: " + ", ".join(f"{label} {share:.1%}" for label, share in labels))


def _save(path: Path, outputs: dict[str, list[NDArray[Any]]], names: Sequence[str]) -> None:
    import numpy as np

    buffer = io.BytesIO()
    try:
        joined = {name: np.concatenate(values) for name, values in outputs.items()}
    except ValueError as error:
        raise UsageError(
            "the images give outputs of different sizes, which one array cannot hold",
            hint="run images of one size together, or use --top",
        ) from error
    np.savez(buffer, allow_pickle=False, names=np.array(names), **joined)
    files.write_bytes(path, buffer.getvalue())
