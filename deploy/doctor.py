"""Examines what is installed, loaded and usable here, for `adroit doctor`. It reports; it never fails itself."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from adroit.deploy.extras import EXTRAS, absent, packages, require
from adroit.deploy.runtimes.onnxruntime_package import VARIABLE, import_onnxruntime, telemetry_is_wanted
from adroit.deploy.runtimes.tensorrt.modules import TITLES, Flavor, check_one_version, import_tensorrt, loaded_libraries
from adroit.deploy.runtimes.tensorrt.plugin_library import plugin_library
from adroit.errors import AdroitError

# The first without the reads and writes outside of memory that damaged models provoked (its release notes).
OLDEST_SAFE_ONNXRUNTIME = "1.30.1"
# What the extras of deploy/extras.py are for; the runtimes have findings of their own.
USES = {
    "serve": "adroit serve",
    "export": "adroit import, export, check, quantize, build, profile, budget",
    "train": "adroit train",
    "log": "adroit train --log",
}


@dataclass(frozen=True)
class Finding:
    """One thing that adroit can use.

    Attributes:
        name: of the thing. usable: whether adroit can use it here.
        detail: version and place, or why it is not usable.
        remedy: how to get it; of a usable thing, what should be mended nevertheless.
    """

    name: str
    usable: bool
    detail: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the finding as JSON values."""
        return asdict(self)


def examine() -> list[Finding]:
    """Examines everything that adroit can use, in the order in which a deployment needs it."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", lambda: Finding("python", True, f"{platform.python_version()} at {sys.executable}")),
        ("onnxruntime", _onnxruntime),
        ("telemetry", _telemetry),
        ("native operators", _native_operators),
        *((extra, lambda extra=extra: _extra(extra)) for extra in USES),
        ("portable bodies", _portable_bodies),
        ("NVIDIA GPU", _gpu),
        ("CUDA compiler", _cuda_compiler),
        *((title, lambda flavor=flavor: _tensorrt(flavor)) for flavor, title in TITLES.items()),
        ("TensorRT plugins", _tensorrt_plugins),
        ("one TensorRT", _one_tensorrt),
    ]
    return [_guarded(name, check) for name, check in checks]


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """Runs one check; whatever a broken installation raises becomes a finding."""
    try:
        return check()
    except AdroitError as error:
        return Finding(name, False, error.message, error.hint or "")
    except Exception as error:  # a damaged package may raise anything
        return Finding(name, False, f"{type(error).__name__}: {error}")


def _extra(extra: str) -> Finding:
    """Examines an extra by importing every package of it and of what it includes."""
    broken = absent(extra)
    for package, module in packages(extra).items():
        try:
            if package not in broken:
                importlib.import_module(module)
        except Exception as error:  # a damaged package may raise anything
            broken.append(f"{package} ({type(error).__name__}: {error})")
    if broken:
        detail = f"{USES[extra]}: without {', '.join(broken)}"
        return Finding(extra, False, detail, f"pip install 'adroit-deploy[{extra}]'")
    versions = (f"{package} {importlib.metadata.version(package)}" for package in EXTRAS[extra])
    return Finding(extra, True, f"{USES[extra]}: {', '.join(versions)}")


def _onnxruntime() -> Finding:
    onnxruntime = import_onnxruntime()
    version = onnxruntime.__version__
    old = _numbers(version) < _numbers(OLDEST_SAFE_ONNXRUNTIME)
    remedy = f"{OLDEST_SAFE_ONNXRUNTIME} mends reads and writes outside of memory that damaged models provoke"
    return Finding(
        "onnxruntime",
        True,
        f"{version}; {', '.join(onnxruntime.get_available_providers())}",
        f"{remedy}: pip install --upgrade onnxruntime (or onnxruntime-gpu)" if old else "",
    )


def _numbers(version: str) -> tuple[int, ...]:
    """Returns the numbers a version begins with: (1, 30, 1) of 1.30.1rc1."""
    (leading,) = re.findall(r"^[\d.]*", version)
    return tuple(int(part) for part in leading.split(".") if part)


def _telemetry() -> Finding:
    """Tells whether ONNX Runtime reports to Microsoft from what adroit runs."""
    if telemetry_is_wanted():
        chosen = f"{VARIABLE}={os.environ[VARIABLE]}"
        return Finding("telemetry", True, f"ONNX Runtime reports to Microsoft: {chosen} turns it on")
    return Finding("telemetry", True, f"ONNX Runtime reports nothing to Microsoft ({VARIABLE}=0 would turn it on)")


def _native_operators() -> Finding:
    from adroit.deploy.runtimes.native import instruction_set, native_library

    library = native_library()
    onnxruntime = import_onnxruntime()
    # Loading it for real: a library of another ONNX Runtime fails here and not in a deployment.
    onnxruntime.SessionOptions().register_custom_ops_library(str(library))
    return Finding("native operators", True, f"{instruction_set(library)} kernels, {library}")


def _portable_bodies() -> Finding:
    from adroit.deploy.operators.definitions import operators, portable_body

    require("export", "adding them to a model")
    names = [portable_body(name).name for name in operators()]
    return Finding("portable bodies", True, ", ".join(names))


def _gpu() -> Finding:
    remedy = "needs an NVIDIA GPU and its driver"
    if not shutil.which("nvidia-smi"):
        return Finding("NVIDIA GPU", False, "nvidia-smi is not there", remedy)
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    result = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    is_there = result.returncode == 0 and bool(result.stdout.strip())
    return Finding(
        "NVIDIA GPU",
        is_there,
        (result.stdout if is_there else result.stderr or result.stdout).strip(),
        "" if is_there else remedy,
    )


def _cuda_compiler() -> Finding:
    path = shutil.which("nvcc")
    if not path:
        return Finding("CUDA compiler", False, "nvcc is not on PATH", "needed only to build the CUDA kernels")
    result = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    release = next((line.strip() for line in result.stdout.splitlines() if "release" in line), "version unknown")
    return Finding("CUDA compiler", result.returncode == 0, f"{release}, {path}")


def _tensorrt(flavor: Flavor) -> Finding:
    """Examines one package of NVIDIA's; running a plan, and building one for TensorRT, needs a GPU besides."""
    module = import_tensorrt(flavor)
    uses = {"tensorrt": "builds and runs", "tensorrt-lean": "runs", "tensorrt-rtx": "builds anywhere, runs"}
    return Finding(TITLES[flavor], True, f"{module.__version__}; {uses[flavor]} where a GPU is")


def _tensorrt_plugins() -> Finding:
    from adroit.deploy.plugin_check.library_file import read_library

    library = read_library(plugin_library())
    code = "GPU code that is not understood" if library.gpu_code is None else ", ".join(library.gpu_code)
    built = f" for TensorRT {library.built_for['tensorrt']}" if library.built_for else ""
    return Finding("TensorRT plugins", bool(library.gpu_code), f"{code or 'no GPU code'}{built}, {library.path}")


def _one_tensorrt() -> Finding:
    check_one_version()
    return Finding("one TensorRT", True, ", ".join(loaded_libraries()) or "none loaded")
