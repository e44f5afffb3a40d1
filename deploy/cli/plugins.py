"""The command `adroit plugins`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import adroit
from adroit import files
from adroit.deploy.cli.options import AsJson
from adroit.errors import UnsupportedModel

if TYPE_CHECKING:
    from adroit.deploy.plugin_check.check import PluginReport

plugins = typer.Typer(help="TensorRT plugin libraries.", no_args_is_help=True)


@plugins.callback()
def _group() -> None:
    """TensorRT plugin libraries."""


@plugins.command("check")
def check(
    library: Annotated[Path, typer.Argument(metavar="LIBRARY", help="A plugin library (.so), ours or another.")],
    model: Annotated[
        Path | None,
        typer.Option(metavar="DEPLOYMENT", help="A deployment: say which of its nodes the library serves."),
    ] = None,
    load: Annotated[
        bool, typer.Option(help="Let TensorRT load it, in a process of its own; else only read the file.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Print what a plugin library holds and needs. Exit code 6 where it leaves nodes of DEPLOYMENT unserved."""
    report = adroit.check_plugins(library, model, load=load)
    print(files.json_text(report.to_json()) if as_json else describe(report), end="" if as_json else "\n", flush=True)
    if report.unserved:
        raise UnsupportedModel(
            f"{library} does not serve every node of {model}",
            facts={f"{w.name} ({w.nodes} nodes)": w.reason for w in report.unserved},
            hint="TensorRT would build the operators' portable bodies in their place, or refuse the model",
        )


def describe(report: PluginReport) -> str:
    """Writes the report as text."""
    library = report.library
    code = "not understood" if library.gpu_code is None else " ".join(library.gpu_code) or "none"
    built = library.built_for or {}
    versions = f"TensorRT {built['tensorrt']}, CUDA {built['cuda']}" if built else "unknown"
    lines = [
        f"library    {library.path} ({library.machine})",
        f"built for  {versions}",
        f"exports    {', '.join(library.exported)}",
        f"needs      {', '.join(library.needed) or 'nothing'}",
        f"GPU code   {code}",
        f"operators  {'by' if report.operators else 'unknown:'} {report.source}",
    ]
    lines += [f"  {o.name}, version {o.version}, namespace {o.namespace or '(none)'}" for o in report.operators or ()]
    lines += [f"warning    {text}" for text in report.warnings]
    if report.required is not None:
        total = sum(w.nodes for w in report.required)
        served = total - sum(w.nodes for w in report.unserved)
        lines.append(f"model      {served} of {total} custom nodes are served")
        lines += [f"  {w.nodes:4} {w.name}: {w.reason or 'served'}" for w in report.required]
    return "\n".join(lines)
