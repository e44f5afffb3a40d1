"""Reports on a plugin library, for `adroit plugins check`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adroit.deploy.plugin_check.library_file import (
    REQUIRED,
    LibraryFile,
    PluginOperator,
    read_library,
    require_loadable,
)
from adroit.deploy.plugin_check.loaded import registered_operators
from adroit.deploy.plugin_check.match import RequiredOperator, match
from adroit.errors import EnvironmentFault, UnsupportedModel

if TYPE_CHECKING:
    from adroit.deploy.deployment.deployment import Deployment


@dataclass(frozen=True)
class PluginReport:
    """The report on a library.

    Attributes:
        operators: None where they are unknown.
        source: where the operators are from, or why they are unknown.
        warnings: what will go wrong elsewhere or later.
        required: the operators that the model needs; None where no model was given.
    """

    library: LibraryFile
    operators: tuple[PluginOperator, ...] | None
    source: str
    warnings: tuple[str, ...]
    required: tuple[RequiredOperator, ...] | None

    @property
    def unserved(self) -> list[RequiredOperator]:
        """The operators of the model that the library does not serve."""
        return [w for w in self.required or () if w.reason]

    def to_json(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        values = dataclasses.asdict(self)
        values["library"].pop("noted")
        values["library"]["path"] = str(self.library.path)
        return values


def check_library(path: Path, deployment: Deployment | None = None, load: bool = True) -> PluginReport:
    """Reads the library and, where TensorRT is installed, has it loaded in a process of its own.

    Args:
        deployment: a deployment whose nodes it should serve.
        load: whether code of the library may run.

    Raises:
        UsageError, EnvironmentFault: it cannot be loaded at all (library_file.py, loaded.py).
        UnsupportedModel: its operators are unknown, so that a model cannot be matched.
    """
    library = read_library(path)
    require_loadable(library)
    operators, source = _operators(library, load)
    required = None
    if deployment:
        if operators is None:
            raise UnsupportedModel(f"the operators of {path} are unknown", facts={"reason": source})
        required = tuple(match(deployment.read_model().message, operators))
    return PluginReport(library, operators, source, tuple(_warnings(library)), required)


def _operators(library: LibraryFile, load: bool) -> tuple[tuple[PluginOperator, ...] | None, str]:
    try:
        if load:
            source, operators = registered_operators(library.path)
            return operators, f"the registry of {source}"
        reason = "not loaded, as requested"
    except EnvironmentFault as error:
        reason = error.message
    if library.noted is not None:
        return library.noted, f"the library's own note ({reason})"
    return None, f"{reason}, and the library has no note of adroit's"


def _warnings(library: LibraryFile) -> list[str]:
    warnings = []
    linked = [name for name in library.needed if name.startswith("libnvinfer")]
    if linked:
        warnings.append(f"it is linked with {', '.join(linked)}, and so bound to that major version of TensorRT")
    others = [name for name in library.exported if name not in REQUIRED]
    if others:
        warnings.append(f"it exports {len(others)} further symbols, which can clash with another library's")
    if library.gpu_code == []:
        warnings.append("it has no GPU code of its own")
    return warnings
