"""The library of our TensorRT plugins: where it is, and loading it into a registry."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from adroit.deploy.operators.definitions import DOMAIN, operators, plugin_files
from adroit.deploy.runtimes.tensorrt.near_miss import Triple, near_miss
from adroit.errors import EnvironmentFault

VARIABLE = "ADROIT_TENSORRT_LIBRARY"
NAME = "libadroit_tensorrt.so"


def plugin_library() -> Path:
    """The library that ADROIT_TENSORRT_LIBRARY names, else the installed one.

    Raises:
        EnvironmentFault: it is not there.
    """
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else Path(str(plugin_files())) / NAME
    if not path.is_file():
        raise EnvironmentFault(
            "the TensorRT plugin library is missing",
            facts={"searched": path},
            hint="install again where nvcc and TensorRT's headers are found (TENSORRT_ROOT), or name a library with"
            f" {VARIABLE}; `--backend tensorrt-rtx` needs none",
        )
    return path


def registered(registry: Any) -> list[Triple]:
    """Name, version and namespace of every creator."""
    return sorted((c.name, c.plugin_version, c.plugin_namespace) for c in registry.all_creators)


def load_plugins(trt: ModuleType, library: Path) -> list[Triple]:
    """Loads the library into the process's registry; what it registered, or has before.

    Raises:
        EnvironmentFault: the registry refuses the library (with the reason that only an error recorder
            is in the error), or one of our operators is not in it.
    """
    registry = trt.get_plugin_registry()
    recorder, before = _recorder(trt), registry.error_recorder
    registry.error_recorder = recorder
    try:
        registry.load_library(str(library))
    finally:
        registry.error_recorder = before
    found = registered(registry)
    missing = [o for o in operators().values() if (o.name, str(o.version), DOMAIN) not in found]
    if missing:
        wanted = missing[0]
        raise EnvironmentFault(
            f"{library} does not provide {wanted.name} version {wanted.version} namespace {DOMAIN!r}",
            facts={
                "reason": "; ".join(recorder.errors) or "it was loaded, and has other plugins",
                "registered": text_of(found),
                "the library": near_miss((wanted.name, str(wanted.version), DOMAIN), found),
            },
            hint="build the library from this version of adroit",
        )
    return found


def text_of(triples: Sequence[Triple]) -> str:
    """Writes creators as text: ours by name, and a count of the others, since TensorRT's own are many."""
    ours = [t for t in triples if t[2] == DOMAIN]
    texts = [f"{name} version {version} namespace {namespace!r}" for name, version, namespace in ours]
    return "; ".join([*texts, f"{len(triples) - len(ours)} of others"])


def _recorder(trt: ModuleType) -> Any:
    class Recorder(trt.IErrorRecorder):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            trt.IErrorRecorder.__init__(self)
            self.errors: list[str] = []

        def clear(self) -> None:
            self.errors.clear()

        def get_error_code(self, index: int) -> Any:
            return trt.ErrorCodeTRT.UNSPECIFIED_ERROR

        def get_error_desc(self, index: int) -> str:
            return self.errors[index]

        def has_overflowed(self) -> bool:
            return False

        def num_errors(self) -> int:
            return len(self.errors)

        def report_error(self, code: Any, text: str) -> bool:
            self.errors.append(text)
            return False

    return Recorder()
