"""From a deployment to engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

from adroit.api.arguments import PathLike, choice, read_deployment
from adroit.deploy.build.choices import Backend, Precision
from adroit.deploy.deployment.deployment import Deployment

if TYPE_CHECKING:
    from adroit.deploy.build.build import Built, Checked
    from adroit.deploy.build.options import BuildOptions


class BuildArguments(TypedDict, total=False):
    """How to build; what is left out has the first value named, or none.

    Attributes:
        precision: "fp32" or "fp16"; sums of our operators stay float32 in either.
        profiles: shapes to build for, each NAME=INPUT:MIN,OPT,MAX, as "live=image:1x3x32x32,4x3x32x32,8x3x32x32".
        compute_capabilities: of "tensorrt-rtx": GPUs to compile for, as "89".
        keep_float32: of fp16: names of ONNX nodes that stay float32.
        workspace: GPU memory for scratch space, in MiB.
        version_compatible: of "tensorrt": later runtimes and the lean one run it.
        strip_weights: a small plan without weights, for `refit`.
        timing_cache: keep timings of tactics between builds, which is the default.
        optimization_level: 0 to 5, 3 if left out; 5 searches longest.
    """

    precision: str
    profiles: Sequence[str]
    compute_capabilities: Sequence[str]
    keep_float32: Sequence[str]
    workspace: int | None
    version_compatible: bool
    strip_weights: bool
    timing_cache: bool
    optimization_level: int


def build(
    deployment: PathLike | Deployment,
    backend: str,
    *,
    refit: int | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Unpack[BuildArguments],
) -> Built:
    """Builds an engine, or ONNX Runtime's optimized file, as a new version of the deployment.

    Args:
        deployment: a deployment, or its path REPOSITORY/NAME.
        backend: "tensorrt", "tensorrt-rtx" or "onnxruntime".
        refit: put the weights into this version, which was built with `strip_weights`.
        progress: called with the name of each phase.
        options: see BuildArguments.

    Returns:
        The version and its record, as the description of the deployment now holds it.

    Raises:
        UsageError, UnsupportedModel: options, profiles or a model that cannot be built.
        EnvironmentFault: the builder, the plugin library or the GPU is not there.
        OutOfResource: memory or disk ran out.

    >>> adroit.build("repository/mine", "onnxruntime").version
    '2'
    """
    from adroit.deploy.build.build import build_deployment, refit_deployment

    read, chosen = read_deployment(deployment), _build_options(backend, options)
    if refit is not None:
        return refit_deployment(read, refit, chosen.backend, progress)
    return build_deployment(read, chosen, progress)


def check_build(deployment: PathLike | Deployment, backend: str, **options: Unpack[BuildArguments]) -> list[Checked]:
    """Checks all of a build that needs no GPU, and builds nothing.

    Args:
        deployment: a deployment, or its path REPOSITORY/NAME.
        backend: "tensorrt", "tensorrt-rtx" or "onnxruntime".
        options: see BuildArguments; `build` takes the same.

    Returns:
        What was looked at, line by line, and whether it is as it must be.

    Raises:
        UsageError, UnsupportedModel: options, profiles or a model that cannot be built.

    >>> [line.right for line in adroit.check_build("repository/mine", "onnxruntime")]
    [True]
    """
    from adroit.deploy.build.build import dry_run

    return dry_run(read_deployment(deployment), _build_options(backend, options))


def _build_options(backend: str, options: BuildArguments) -> BuildOptions:
    from adroit.deploy.build.options import BuildOptions, read_compute_capability
    from adroit.deploy.build.profiles import read_profile

    return BuildOptions(
        choice(Backend, backend, "backend"),
        choice(Precision, options.get("precision", Precision.fp32), "precision"),
        [read_profile(text) for text in options.get("profiles", ())],
        [read_compute_capability(text) for text in options.get("compute_capabilities", ())],
        tuple(options.get("keep_float32", ())),
        options.get("workspace"),
        options.get("version_compatible", False),
        options.get("strip_weights", False),
        options.get("timing_cache", True),
        options.get("optimization_level", 3),
    )
