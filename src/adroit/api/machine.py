"""What is here: operators, libraries, and what of adroit works on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adroit.api.arguments import PathLike, read_deployment
from adroit.deploy.deployment.deployment import Deployment

if TYPE_CHECKING:
    from adroit.deploy.doctor import Finding
    from adroit.deploy.plugin_check.check import PluginReport


def list_operators() -> list[str]:
    """Lists the operators of the ONNX domain `adroit`; plugins/operators.toml says what each computes.

    Raises:
        EnvironmentFault: adroit's files are not installed.

    >>> "AdderConv2d" in adroit.list_operators()
    True
    """
    from adroit.deploy.operators.definitions import operators

    return list(operators())


def native_library() -> Path:
    """Returns the path of ONNX Runtime's custom operators: what `register_custom_ops_library` takes.

    It is the one that the variable ADROIT_ONNXRUNTIME_LIBRARY names, else the installed one.

    Raises:
        EnvironmentFault: it is not there.

    >>> adroit.native_library().suffix
    '.so'
    """
    from adroit.deploy.runtimes.native import native_library as find

    return find()


def doctor() -> list[Finding]:
    """Examines what is installed and usable here. It reports; it never fails itself.

    Returns:
        Each thing that adroit can use: whether it is usable, what was found, and how to get it.

    >>> [finding.usable for finding in adroit.doctor() if finding.name == "python"]
    [True]
    """
    from adroit.deploy.doctor import examine

    return examine()


def check_plugins(
    library: PathLike, deployment: PathLike | Deployment | None = None, *, load: bool = True
) -> PluginReport:
    """Reads what a TensorRT plugin library holds and needs, and which nodes of a deployment it serves.

    Args:
        library: a plugin library (.so), ours or another.
        deployment: a deployment, or its path REPOSITORY/NAME.
        load: let TensorRT load it, in a process of its own; else only read the file.

    Raises:
        UsageError: a file that is no library. EnvironmentFault: TensorRT, or what the library needs, is not there.
        UnsupportedModel: nothing says which operators it holds, so a deployment cannot be matched.

    >>> adroit.check_plugins(adroit.native_library(), load=False)
    Traceback (most recent call last):
    ...
    adroit.errors.UsageError: ...
    """
    from adroit.deploy.plugin_check.check import check_library

    return check_library(Path(library), None if deployment is None else read_deployment(deployment), load)
