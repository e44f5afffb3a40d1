"""NVIDIA's Python packages: which is installed, and which library this process has loaded."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Literal

from adroit.errors import EnvironmentFault

Flavor = Literal["tensorrt", "tensorrt-lean", "tensorrt-rtx"]
# The lean wheel's module has its long name where only the bindings are installed.
MODULES: Mapping[Flavor, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    "tensorrt-lean": ("tensorrt_lean", "tensorrt_lean_bindings"),
    "tensorrt-rtx": ("tensorrt_rtx",),
}
TITLES: Mapping[Flavor, str] = {
    "tensorrt": "TensorRT",
    "tensorrt-lean": "TensorRT lean",
    "tensorrt-rtx": "TensorRT-RTX",
}
REMEDIES: Mapping[Flavor, str] = {
    "tensorrt": "pip install 'adroit-deploy[tensorrt]' where NVIDIA's package index can be reached; on Jetson,"
    " JetPack has it",
    "tensorrt-lean": "pip install tensorrt-lean-cu13-libs tensorrt-lean-cu13-bindings",
    "tensorrt-rtx": "pip install 'adroit-deploy[rtx]'",
}
MAPS = Path("/proc/self/maps")


def import_tensorrt(flavor: Flavor) -> ModuleType:
    """The package.

    Raises:
        EnvironmentFault: it is not installed, lacks its library, or another major version is loaded.
    """
    reasons = []
    for name in MODULES[flavor]:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            # RuntimeError: NVIDIA's stub packages raise it where the real wheel could not be fetched.
            reasons.append(str(error).strip().split("\n")[0])
            continue
        if not hasattr(module, "Runtime"):
            reasons.append(f"{name} is a package without content")
            continue
        check_one_version()
        return module
    raise EnvironmentFault(f"{TITLES[flavor]} is not installed", facts={"reason": reasons[0]}, hint=REMEDIES[flavor])


def loaded_libraries(maps: Path = MAPS) -> dict[str, str]:
    """File name to path of every TensorRT library in this process; empty where the system does not tell."""
    try:
        lines = maps.read_text().splitlines()
    except OSError:
        return {}
    paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    return {
        Path(path).name: path
        for path in sorted(paths)
        if re.match(r"lib(nvinfer|nvonnxparser|tensorrt)[a-z_]*\.so", Path(path).name)
    }


def check_one_version(maps: Path = MAPS) -> None:
    """Raises EnvironmentFault where libnvinfer is loaded twice, in two major versions: they share symbols."""
    found = loaded_libraries(maps)
    majors = {match[1]: path for name, path in found.items() if (match := re.match(r"libnvinfer\.so\.(\d+)", name))}
    if len(majors) > 1:
        raise EnvironmentFault(
            "two TensorRTs are loaded in this process; which one answers a call is chance",
            facts={f"TensorRT {major}": path for major, path in sorted(majors.items())},
            hint="onnxruntime-gpu's TensorRT provider loads TensorRT 10: run it in another process, or install the"
            " TensorRT of that version",
        )
