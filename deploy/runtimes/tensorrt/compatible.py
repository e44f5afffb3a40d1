"""Checks whether this process may run a plan, before TensorRT sees it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from adroit.deploy.deployment.builds import TensorRTBuild
from adroit.deploy.runtimes.tensorrt.modules import TITLES, Flavor, loaded_libraries
from adroit.deploy.runtimes.tensorrt.plan import PlanHeader, read_plan_header, version_text
from adroit.errors import EnvironmentFault, UnsupportedModel


def check_plan(path: Path, record: TensorRTBuild, flavor: Flavor, trt: ModuleType, rebuild: str) -> PlanHeader:
    """Reads the plan's header, and checks that `trt` can run the plan.

    Args:
        record: of the build, in adroit.json.
        rebuild: the command that builds it again.

    Raises:
        EnvironmentFault: a plan of another TensorRT; the error names both versions and the library's file.
        UnsupportedModel: no plan, or one without weights.
    """
    header = read_plan_header(path)
    running = tuple(int(part) for part in trt.__version__.split(".")[:3])
    compatible = record.version_compatible
    if flavor == "tensorrt-lean" and not compatible:
        raise UnsupportedModel(
            f"{path} needs the full TensorRT: the lean runtime takes version-compatible plans only",
            hint=f"build one: {rebuild} --version-compatible",
        )
    right_kind = header.kind == ("tensorrt-rtx" if flavor == "tensorrt-rtx" else "tensorrt")
    # TensorRT refuses another patch too; the build number is left to it.
    same = header.version[:3] == running
    newer = compatible and header.version[:2] <= running[:2]
    if not right_kind or not (same or newer):
        raise EnvironmentFault(
            f"{path} was built with {header}, this process runs {TITLES[flavor]} {version_text(running)}",
            facts={"library": _providing(flavor)},
            hint=f"build it here: {rebuild}" if right_kind else f"open it with --runtime {header.kind}",
        )
    if record.weights_stripped:
        raise UnsupportedModel(
            f"{path} has no weights", hint=f"fit them in: {rebuild} --refit {Path(record.file).parent}"
        )
    return header


def check_gpu(path: Path, header: PlanHeader, record: TensorRTBuild, capability: int, rebuild: str) -> None:
    """Raises EnvironmentFault where the plan was made for another GPU than the one of `capability`."""
    made_for = header.compute_capabilities or (record.gpu.compute_capability if record.gpu else None,)
    if made_for != (None,) and capability not in made_for:
        raise EnvironmentFault(
            f"{path} was built for compute capability {', '.join(map(str, made_for))}, this GPU has {capability}",
            hint=f"build it for this one: {rebuild}",
        )


def _providing(flavor: Flavor) -> str:
    """The file of the loaded library that answers."""
    pattern = {"tensorrt": "libnvinfer.so", "tensorrt-lean": "libnvinfer_lean.so", "tensorrt-rtx": "libtensorrt_rtx"}
    found = [path for name, path in loaded_libraries().items() if name.startswith(pattern[flavor])]
    return ", ".join(found) or "not known"
