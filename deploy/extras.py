"""The parts that adroit is installed in: the extras of its package, and the packages that each brings.

Running and serving take a runtime and `serve`, no more: a box at the edge holds no PyTorch. Other commands import
what they need when they run it, and where that is not there end with the error that `missing` makes.
"""

from __future__ import annotations

import importlib.util

from adroit.errors import EnvironmentFault

# By extra of pyproject.toml that is Python alone: its packages, and the module by which each is imported.
PARTS = {
    "export": {
        "torch": "torch",
        "onnx": "onnx",
        "onnxscript": "onnxscript",
        "onnx-ir": "onnx_ir",
        "safetensors": "safetensors",
        "scipy": "scipy",
        "jinja2": "jinja2",
        "markupsafe": "markupsafe",
    },
    "train": {"scikit-learn": "sklearn", "lightning-fabric": "lightning_fabric", "rich": "rich"},
    "serve": {
        "uvicorn": "uvicorn",
        "httptools": "httptools",
        "uvloop": "uvloop",
        "grpcio": "grpc",
        "prometheus-client": "prometheus_client",
    },
    "cpu": {"onnxruntime": "onnxruntime"},
    "log": {"tensorboard": "tensorboard"},
}


def packages(part: str) -> dict[str, str]:
    """Package to module; training needs what exporting does."""
    return {**PARTS["export"], **PARTS["train"]} if part == "train" else PARTS[part]


def absent(part: str) -> list[str]:
    """Those of its packages that are not installed."""
    return [package for package, module in packages(part).items() if importlib.util.find_spec(module) is None]


def require(part: str, what: str) -> None:
    """Raises EnvironmentFault, where `what` cannot be done for want of the part."""
    if absent(part):
        raise _fault(part, what)


def missing(error: ImportError, what: str, part: str | None = None) -> EnvironmentFault | None:
    """What an import that failed comes to; None where the module is our own, which is a bug.

    Args:
        what: could not be done.
        part: to tell of, where it has the module too.
    """
    module = (error.name or "").partition(".")[0]
    if module in ("", "adroit"):
        return None
    having = [name for name in PARTS if module in packages(name).values()]
    if part not in having:
        part = having[0] if having else None
    if part is not None and absent(part):
        return _fault(part, what)
    return EnvironmentFault(
        f"{what} needs {module}, which cannot be imported",
        facts={"reason": error},
        hint="`pip check` tells which of the installed packages is incomplete",
    )


def _fault(part: str, what: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"{what} needs packages that are not installed",
        facts={"missing": ", ".join(absent(part))},
        hint=f"pip install 'adroit-deploy[{part}]'",
    )
