"""How to start a full Triton Inference Server on a repository."""

from __future__ import annotations

import shlex
from pathlib import Path

from deploy.entry import INFO, Entry
from deploy.triton.config import ONNXRUNTIME_LIBRARY, PLAN_CONFIG, TENSORRT_LIBRARY
from deploy.triton.lint import lint
from models.errors import UsageError

# The first with the fixes of August 2025's advisories for its HTTP server and Python backend.
OLDEST = "25.07"


def triton_command(repository: Path) -> str:
    """A shell command, and as comments what must be in place for it.

    Raises:
        UsageError: no repository, or a configuration with a fault that Triton would not tell of.
    """
    entries = [Entry.read(path.parent) for path in sorted(repository.glob(f"*/{INFO}"))]
    if not entries:
        raise UsageError(f"{repository} holds no deployment", hint="give a folder that `adroit export` wrote to")
    configs = [
        path for entry in entries for path in (entry.path / "config.pbtxt", entry.path / PLAN_CONFIG) if path.is_file()
    ]
    faults = {f"{path.relative_to(repository)} {i + 1}": told for path in configs for i, told in enumerate(lint(path))}
    if faults:
        raise UsageError("Triton would load this and serve other than meant", facts=faults, hint="correct the files")
    plans = [entry for entry in entries if (entry.path / PLAN_CONFIG).is_file()]
    libraries = [ONNXRUNTIME_LIBRARY] * any(e.info.operators for e in entries)
    libraries += [TENSORRT_LIBRARY] * any(e.info.operators for e in plans)
    notes = [f"# Triton Inference Server {OLDEST} or later."]
    notes += [f"# Needs {library}, built for its versions of ONNX Runtime and TensorRT." for library in libraries]
    return "\n".join([*notes, " \\\n    ".join(map(shlex.quote, _words(repository, bool(plans), libraries)))])


def _words(repository: Path, plans: bool, libraries: list[str]) -> list[str]:
    words = [
        "tritonserver",
        f"--model-repository={repository.resolve()}",
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--exit-timeout-secs=20",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
    ]
    words += ["--model-config-name=tensorrt"] * plans
    # One setting a flag: two in one, by a comma, are read as one value, and the plugins are not loaded.
    words += [f"--backend-config=tensorrt,plugins={TENSORRT_LIBRARY}"] * (TENSORRT_LIBRARY in libraries)
    return words
