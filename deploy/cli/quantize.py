"""The command `adroit quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

import adroit
from adroit import files
from adroit.deploy.cli.options import AsJson, DataPath, DeploymentPath, Operators, Replace, Threads
from adroit.deploy.quantize.choices import Method
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.text import progress, table

if TYPE_CHECKING:
    from adroit.deploy.quantize.quantize import Quantized


def quantize(
    deployment: DeploymentPath,
    data: DataPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="REPOSITORY", help="The model repository.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the deployment; DEPLOYMENT's with -8bit if not given.")
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Calibrate with the first so many images only.")] = None,
    method: Annotated[
        Method,
        typer.Option(help="Range of a tensor: by the smallest mean squared error, or a percentile of values."),
    ] = Method.mse,
    percentile: Annotated[
        float, typer.Option(min=50.0, max=100.0, help="Percent of the values that do not saturate.")
    ] = 99.99,
    bias_correction: Annotated[
        bool, typer.Option(help="Put back by how much rounding moves each channel's mean.")
    ] = True,
    keep_float: Annotated[
        list[str] | None, typer.Option(metavar="LAYER", help="Leave this adder layer in float32; repeat for more.")
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Also measure what each layer costs, quantized alone.")
    ] = False,
    operators: Operators = OperatorForm.native,
    threads: Threads = None,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Write a deployment in 8 bits: adder layers on integers, ranges from your images, no training."""
    from adroit.deploy.deployment.names import check_name

    quantized = adroit.quantize(
        deployment,
        output / check_name(name or f"{deployment.resolve().name}-8bit"),
        data,
        limit=images,
        method=method,
        percentile=percentile,
        bias_correction=bias_correction,
        keep_float=keep_float or (),
        sensitivity=sensitivity,
        operators=operators,
        threads=threads,
        replace=replace,
        progress=progress,
    )
    print(files.json_text(_to_json(quantized)) if as_json else describe(quantized), flush=True)


def describe(quantized: Quantized) -> str:
    """Writes the result as text."""
    info, cost = quantized.deployment.info, quantized.cost
    assert info.quantization is not None
    nodes = ", ".join(f"{operator.nodes} {name}" for name, operator in info.operators.items())
    lines = [
        f"{quantized.deployment.path}: {nodes}",
        f"on the {info.quantization.images} calibration images: same class as float32 {cost.argmax_equal:.2%},"
        f" error of the logits {cost.error:.2%} of their spread",
    ]
    if cost.top1:
        ours, theirs = cost.top1
        lines.append(f"top-1 accuracy there: {ours:.2%}, float32 {theirs:.2%}")
    if quantized.layers:
        rows = [("layer alone in 8 bits", "error of the logits", "same class")]
        by_error = sorted(quantized.layers.items(), key=lambda item: -item[1].error)
        rows += [(layer, f"{one.error:.2%}", f"{one.argmax_equal:.2%}") for layer, one in by_error]
        lines += ["", table(rows)]
    return "\n".join(lines)


def _to_json(quantized: Quantized) -> dict[str, object]:
    return {
        "deployment": str(quantized.deployment.path),
        "cost": msgspec.to_builtins(quantized.cost),
        "layers": {layer: msgspec.to_builtins(cost) for layer, cost in quantized.layers.items()},
        "quantization": msgspec.to_builtins(quantized.deployment.info.quantization),
    }
