"""The command `adroit build`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

import adroit
from adroit import files
from adroit.deploy.build.choices import Backend, Precision
from adroit.deploy.cli.options import AsJson, DeploymentPath

if TYPE_CHECKING:
    from adroit.api.building import BuildArguments
    from adroit.deploy.build.build import Built
    from adroit.deploy.build.process import Progress


def build(
    deployment: DeploymentPath,
    backend: Annotated[Backend, typer.Option(help="What to build for.")],
    precision: Annotated[
        Precision, typer.Option(help="fp16 casts the network; our operators' sums stay float32.")
    ] = Precision.fp32,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=INPUT:MIN,OPT,MAX",
            help="Shapes to build for, such as live=image:1x3x32x32,4x3x32x32,8x3x32x32; repeat for several.",
        ),
    ] = None,
    compute_capability: Annotated[
        list[str] | None, typer.Option(metavar="CC", help="tensorrt-rtx: GPUs to compile for: 75 to 121; repeat.")
    ] = None,
    keep_float32: Annotated[list[str] | None, typer.Option(metavar="NODE", help="fp16: leave this ONNX node.")] = None,
    workspace: Annotated[
        int | None, typer.Option(min=1, metavar="MIB", help="GPU memory for layers' scratch space.")
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="tensorrt: later runtimes and the lean one run it.")
    ] = False,
    strip_weights: Annotated[
        bool, typer.Option("--strip-weights", help="A small plan without weights; --refit puts them in.")
    ] = False,
    refit: Annotated[
        int | None, typer.Option(min=1, metavar="VERSION", help="Put the weights into a build made without.")
    ] = None,
    optimization_level: Annotated[int, typer.Option(min=0, max=5, help="5 searches longest.")] = 3,
    timing_cache: Annotated[bool, typer.Option(help="Keep timings of tactics between builds.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all that needs no GPU; build nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build an engine (or ONNX Runtime's optimized file) as a new version of the deployment."""
    options: BuildArguments = {
        "precision": precision,
        "profiles": profile or (),
        "compute_capabilities": compute_capability or (),
        "keep_float32": keep_float32 or (),
        "workspace": workspace,
        "version_compatible": version_compatible,
        "strip_weights": strip_weights,
        "timing_cache": timing_cache,
        "optimization_level": optimization_level,
    }
    if dry_run:
        lines = adroit.check_build(deployment, backend, **options)
        if as_json:
            print(files.json_text([{"right": line.right, "what": line.what} for line in lines]), end="")
        else:
            print("\n".join(f"{'ok     ' if line.right else 'missing'}  {line.what}" for line in lines))
        return
    built = adroit.build(deployment, backend, refit=refit, progress=_progress(), **options)
    text = files.json_text(msgspec.to_builtins(built.record)) if as_json else describe(built)
    print(text, end="" if as_json else "\n")


def describe(built: Built) -> str:
    """Writes the build as text."""
    from adroit.deploy.deployment.builds import TensorRTBuild

    record = built.record
    lines = [f"{built.deployment.path / record.file}: {record.builder}, {record.bytes / 1e6:.1f} MB"]
    if isinstance(record, TensorRTBuild):
        capabilities = ", ".join(map(str, record.plan.compute_capabilities))
        gpu = f"compute capability {capabilities}" if capabilities else record.gpu.name if record.gpu else "any GPU"
        lines[0] += f" for {gpu}, {record.layers} layers, built in {record.seconds:.1f} s"
        lines += [f"  profile {name}" for name in record.profiles]
    else:
        share = max(record.difference.share_of_largest.values())
        lines.append(f"  differs from the model by {share:.1g} of the largest value; for this kind of machine only")
        if record.optimizations != "all":
            lines.append(
                f"  ONNX Runtime's {record.optimizations} optimizations only: a file with all does not load again"
            )
    return "\n".join(lines)


def _progress() -> Progress:
    """Shows every phase once on standard error: builders repeat their small ones thousands of times."""
    shown: set[str] = set()

    def show(phase: str) -> None:
        if phase not in shown:
            shown.add(phase)
            print(f"building: {phase}", file=sys.stderr, flush=True)

    return show
