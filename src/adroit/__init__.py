"""From checkpoint to trusted deployment, for vision networks with operators that no exporter knows.

Every command of `adroit` is one call of a function here. Names are imported when they are used first, so that
`import adroit` is quick and needs no PyTorch, ONNX or ONNX Runtime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from adroit.version import __version__

if TYPE_CHECKING:
    from adroit import nn
    from adroit.api.building import build, check_build
    from adroit.api.checking import check, profile
    from adroit.api.exporting import export, quantize
    from adroit.api.gates import BudgetResult, budget, calibrate, routes
    from adroit.api.inspecting import DeploymentSummary, inspect
    from adroit.api.machine import check_plugins, doctor, list_operators, native_library
    from adroit.api.networks import (
        adopt,
        create_network,
        import_checkpoint,
        list_networks,
        list_recipes,
        list_tasks,
        train,
    )
    from adroit.api.opened import OpenDeployment, RunResult, open, run
    from adroit.api.serving import kserve_resources, serve, triton_command
    from adroit.deploy.export.inputs import NamedInput
    from adroit.models.data.preprocessing import Preprocessing

# Where each public name is defined.
_MODULES = {
    "adroit.api.building": ("build", "check_build"),
    "adroit.api.checking": ("check", "profile"),
    "adroit.api.exporting": ("export", "quantize"),
    "adroit.api.gates": ("BudgetResult", "budget", "calibrate", "routes"),
    "adroit.api.inspecting": ("DeploymentSummary", "inspect"),
    "adroit.api.machine": ("check_plugins", "doctor", "list_operators", "native_library"),
    "adroit.api.networks": (
        "adopt",
        "create_network",
        "import_checkpoint",
        "list_networks",
        "list_recipes",
        "list_tasks",
        "train",
    ),
    "adroit.api.opened": ("OpenDeployment", "RunResult", "open", "run"),
    "adroit.api.serving": ("kserve_resources", "serve", "triton_command"),
    "adroit.deploy.export.inputs": ("NamedInput",),
    "adroit.models.data.preprocessing": ("Preprocessing",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BudgetResult",
    "DeploymentSummary",
    "NamedInput",
    "OpenDeployment",
    "Preprocessing",
    "RunResult",
    "__version__",
    "adopt",
    "budget",
    "build",
    "calibrate",
    "check",
    "check_build",
    "check_plugins",
    "create_network",
    "doctor",
    "export",
    "import_checkpoint",
    "inspect",
    "kserve_resources",
    "list_networks",
    "list_operators",
    "list_recipes",
    "list_tasks",
    "native_library",
    "nn",
    "open",
    "profile",
    "quantize",
    "routes",
    "run",
    "serve",
    "train",
    "triton_command",
]


def __getattr__(name: str) -> object:
    if name == "nn":
        return importlib.import_module("adroit.nn")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'adroit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
