"""The extras of the package `adroit-deploy`, and the packages that each brings.

Running and serving need a runtime and `serve`, no more: a box at the edge holds no PyTorch. Other commands import
what they need when they run; where that is missing, `missing_package` makes the error.
"""

from __future__ import annotations

import importlib.util

from adroit.errors import EnvironmentFault

# By extra of pyproject.toml that is Python alone: its packages, and the module by which each is imported.
EXTRAS = {
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
        "h11": "h11",
        "httptools": "httptools",
        "uvloop": "uvloop",
        "grpcio": "grpc",
        "prometheus-client": "prometheus_client",
    },
    "cpu": {"onnxruntime": "onnxruntime"},
    "log": {"tensorboard": "tensorboard"},
}


def packages(extra: str) -> dict[str, str]:
    """Returns the packages of an extra and their modules; training needs what exporting does."""
    return {**EXTRAS["export"], **EXTRAS["train"]} if extra == "train" else EXTRAS[extra]


def absent(extra: str) -> list[str]:
    """Lists those packages of an extra that are not installed."""
    return [package for package, module in packages(extra).items() if importlib.util.find_spec(module) is None]


def require(extra: str, what: str) -> None:
    """Checks that an extra is installed.

    Args:
        what: needs it, as the message names it.

    Raises:
        EnvironmentFault: a package of it is missing.
    """
    if absent(extra):
        raise _fault(extra, what)


def missing_package(error: ImportError, what: str, extra: str | None = None) -> EnvironmentFault | None:
    """Makes the error of an import that failed; None where the module is our own, which is a bug.

    Args:
        what: cannot be done.
        extra: to name in the hint, where it has the module too.
    """
    module = (error.name or "").partition(".")[0]
    if module in ("", "adroit"):
        return None
    having = [name for name in EXTRAS if module in packages(name).values()]
    if extra not in having:
        extra = having[0] if having else None
    if extra is not None and absent(extra):
        return _fault(extra, what)
    return EnvironmentFault(
        f"{what} needs {module}, which cannot be imported",
        facts={"reason": error},
        hint="`pip check` names the installed packages that are incomplete",
    )


def _fault(extra: str, what: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"{what} needs packages that are not installed",
        facts={"missing": ", ".join(absent(extra))},
        hint=f"pip install 'adroit-deploy[{extra}]'",
    )
