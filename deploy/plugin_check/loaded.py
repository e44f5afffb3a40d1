"""The operators of a library, as the plugin registry of an installed TensorRT sees them.

Loading a library runs its code, which may crash: so it happens in a process of its own, this file as a
program. Without a TensorRT that Python can import, a library's own note must do (library_file.py).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from adroit.deploy.plugin_check.library_file import PluginOperator
from adroit.errors import EnvironmentFault, UsageError

# The full one first: it is what engines are built with. The lean one has the same registry.
BINDINGS = ("tensorrt", "tensorrt_lean_bindings")
SECONDS = 120


def registered_operators(path: Path) -> tuple[str, tuple[PluginOperator, ...]]:
    """Loads the library in a process of its own; returns the name of the registry and the operators.

    Raises:
        EnvironmentFault: no TensorRT can be imported here.
        UsageError: TensorRT refuses the library, or it ends the process that loads it.
    """
    bindings = next((name for name in BINDINGS if importlib.util.find_spec(name)), None)
    if not bindings:
        raise EnvironmentFault(
            "no TensorRT is installed for Python",
            hint="pip install tensorrt-lean-cu13-libs tensorrt-lean-cu13-bindings",
        )
    # -P: a file in the user's working directory must not stand in for a package.
    command = [sys.executable, "-P", "-m", __name__, bindings, str(path.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{path} was not loaded within {SECONDS} s") from error
    if done.returncode:
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        if done.returncode == 1 and "Error" in last:  # the bindings themselves
            raise EnvironmentFault(f"{bindings} is installed but not usable", facts={"reason": last})
        raise UsageError(f"{path} ends the process that loads it", facts={"how": ended, "last line": last})
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if answer["errors"] or not answer["operators"]:
        raise UsageError(
            f"TensorRT {answer['version']} refuses {path}",
            facts={"reason": "; ".join(answer["errors"]) or "it registers no operator"},
        )
    operators = (
        PluginOperator(o["name"], o["version"], o["namespace"], tuple(o["fields"])) for o in answer["operators"]
    )
    return f"TensorRT {answer['version']}", tuple(operators)


def _registered(bindings: str, path: str) -> dict[str, Any]:
    """Loads the library in this process and lists what is new in the registry."""
    tensorrt = importlib.import_module(bindings)
    errors: list[str] = []

    class Recorder(tensorrt.IErrorRecorder):  # type: ignore[misc, name-defined]
        """Records the reason why loading fails, which TensorRT reports nowhere else."""

        def __init__(self) -> None:
            super().__init__()

        def report_error(self, code: object, reason: str) -> bool:
            errors.append(reason)
            return True

        def num_errors(self) -> int:
            return len(errors)

        def get_error_code(self, index: int) -> object:
            return tensorrt.ErrorCodeTRT.UNSPECIFIED_ERROR

        def get_error_desc(self, index: int) -> str:
            return errors[index]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            errors.clear()

    registry = tensorrt.get_plugin_registry()
    recorder = Recorder()  # the registry keeps no reference
    registry.error_recorder = recorder
    known = {(c.name, c.plugin_version, c.plugin_namespace) for c in registry.all_creators}
    errors.clear()  # without a GPU, TensorRT's own plugins complain
    handle = registry.load_library(path)
    refused = [] if handle else list(errors) or ["it gives no reason"]
    operators = [
        {
            "name": creator.name,
            "version": creator.plugin_version,
            "namespace": creator.plugin_namespace,
            "fields": [field.name for field in creator.field_names],
        }
        for creator in registry.all_creators
        if (creator.name, creator.plugin_version, creator.plugin_namespace) not in known
    ]
    registry.error_recorder = None
    return {"version": tensorrt.__version__, "errors": refused, "operators": operators}


if __name__ == "__main__":
    print(json.dumps(_registered(sys.argv[1], sys.argv[2])))
