"""`adroit quantize`"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import AsJson, DataPath, EntryPath, Operators, Threads
from deploy.cli.text import progress, table
from deploy.quantize.choices import Method
from deploy.runtimes.choices import OperatorForm
from models import files

if TYPE_CHECKING:
    from deploy.quantize.quantize import Quantised


def quantize(
    entry: EntryPath,
    data: DataPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="REPOSITORY", help="The model repository.")],
    name: Annotated[str | None, typer.Option(help="Name of the entry; ENTRY's with -8bit if not given.")] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Calibrate with the first so many images only.")] = None,
    method: Annotated[
        Method, typer.Option(help="Range of a tensor: of the least mean squared error, or a percentile of its values.")
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
        bool, typer.Option("--sensitivity", help="Also tell what each layer costs, quantised alone.")
    ] = False,
    operators: Operators = OperatorForm.native,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Write a deployment in 8 bits: adder layers on integers, ranges from your images, no training."""
    from deploy.entry import Entry
    from deploy.quantize.quantize import QuantiseOptions, quantise_entry
    from models.data.images import read_images

    read = Entry.read(entry)
    image_set = read_images(data, read.info.labels).first(images)
    kept = tuple(keep_float or ())
    options = QuantiseOptions(method, percentile, bias_correction, kept, sensitivity, operators, threads)
    quantised = quantise_entry(read, image_set, data, output, name, options, progress)
    print(files.json_text(_to_json(quantised)) if as_json else describe(quantised), flush=True)


def describe(quantised: Quantised) -> str:
    """The result as text."""
    info, cost = quantised.entry.info, quantised.cost
    assert info.quantisation is not None
    found = ", ".join(f"{told['nodes']} {operator}" for operator, told in info.operators.items())
    lines = [
        f"{quantised.entry.path}: {found}",
        f"on the {info.quantisation['images']} calibration images: same class as float32 {cost.argmax_equal:.2%},"
        f" error of the logits {cost.error:.2%} of their spread",
    ]
    if cost.top1:
        ours, theirs = cost.top1
        lines.append(f"top-1 accuracy there: {ours:.2%}, float32 {theirs:.2%}")
    if quantised.layers:
        rows = [("layer alone in 8 bits", "error of the logits", "same class")]
        by_error = sorted(quantised.layers.items(), key=lambda item: -item[1].error)
        rows += [(layer, f"{one.error:.2%}", f"{one.argmax_equal:.2%}") for layer, one in by_error]
        lines += ["", table(rows)]
    return "\n".join(lines)


def _to_json(quantised: Quantised) -> dict[str, object]:
    return {
        "entry": str(quantised.entry.path),
        "cost": dataclasses.asdict(quantised.cost),
        "layers": {layer: dataclasses.asdict(cost) for layer, cost in quantised.layers.items()},
        "quantisation": quantised.entry.info.quantisation,
    }
