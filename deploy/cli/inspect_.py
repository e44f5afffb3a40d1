"""The command `adroit inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import adroit
from adroit import files
from adroit.deploy.cli.options import AsJson, ModelPath

if TYPE_CHECKING:
    from adroit.api.inspecting import DeploymentSummary


def inspect(deployment: ModelPath, as_json: AsJson = False) -> None:
    """Print what a deployment is: inputs, outputs, task, operators, gates, provenance and records."""
    summary = adroit.inspect(deployment)
    print(files.json_text(summary.to_json()) if as_json else describe(summary), end="" if as_json else "\n")


def describe(summary: DeploymentSummary) -> str:
    """Writes the summary as text, one line a fact."""
    operators = ", ".join(f"{nodes} {name}" for name, nodes in summary.operators.items())
    rows = [
        ("name", summary.name),
        ("network", summary.architecture),
        ("task", f"{summary.task}, {summary.labels or 'no'} names of classes"),
        *(("input", text) for text in summary.inputs),
        *(("output", text) for text in summary.outputs),
        ("operators", operators or "standard ones only"),
        ("gates", _facts(summary.gates) if summary.gates else "none"),
        *((key, _facts(value)) for key, value in summary.provenance.items()),
        ("reference", "there: `adroit check` can compare" if summary.can_check else "deleted"),
        *((key, _facts(value)) for key, value in summary.records.items() if value),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def _facts(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_facts(item)}" for key, item in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)
