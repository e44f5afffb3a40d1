"""What a full Triton Inference Server must be given for a repository, however it is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adroit.deploy.deployment.builds import TensorRTBuild
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import DESCRIPTION_FILE, TRITON_FILE
from adroit.deploy.deployment.triton_configuration import ONNXRUNTIME_LIBRARY, PLAN_CONFIG, TENSORRT_LIBRARY
from adroit.deploy.triton.lint import lint
from adroit.errors import UsageError

# The first with the fixes of NVIDIA's security bulletin 5828 (May 2026): older ones let strangers in.
OLDEST, BULLETIN = "26.04", "5828"


@dataclass(frozen=True)
class TritonNeeds:
    """The needs of a repository whose configurations were checked.

    Attributes:
        models: names, in alphabetical order.
        plans: there are plans of TensorRT, so it takes a GPU; version_compatible: some carry host code.
        libraries: of operators, paths on the server's machine.
    """

    models: tuple[str, ...]
    plans: bool
    version_compatible: bool
    libraries: tuple[str, ...]

    @classmethod
    def of(cls, repository: Path) -> TritonNeeds:
        """Checks a repository.

        Raises:
            UsageError: a folder without deployments, or a fault of a configuration (see lint).
        """
        deployments = [Deployment.read(path.parent) for path in sorted(repository.glob(f"*/{DESCRIPTION_FILE}"))]
        if not deployments:
            raise UsageError(f"{repository} holds no deployment", hint="give a folder that `adroit export` wrote to")
        _check(repository, deployments)
        planned = [deployment for deployment in deployments if (deployment.path / PLAN_CONFIG).is_file()]
        libraries = [ONNXRUNTIME_LIBRARY] * any(e.info.operators for e in deployments)
        libraries += [TENSORRT_LIBRARY] * any(e.info.operators for e in planned)
        return cls(
            tuple(deployment.path.name for deployment in deployments),
            bool(planned),
            any(map(_compatible, planned)),
            tuple(libraries),
        )

    @property
    def notes(self) -> list[str]:
        """What must be in place, a sentence each."""
        notes = [
            f"Triton Inference Server {OLDEST} or later: it has the fixes of NVIDIA's security bulletin {BULLETIN}."
        ]
        notes += [
            f"Needs {library}, built for its versions of ONNX Runtime and TensorRT." for library in self.libraries
        ]
        notes += ["Version-compatible plans carry code, which the server runs."] * self.version_compatible
        return notes

    def words(self, folder: str) -> list[str]:
        """The command for the repository at `folder`, but for where the server listens."""
        words = [
            "tritonserver",
            f"--model-repository={folder}",
            "--model-control-mode=none",
            "--disable-auto-complete-config",
            "--exit-timeout-secs=20",
        ]
        words += ["--model-config-name=tensorrt"] * self.plans
        # One setting a flag: two in one, by a comma, are read as one value, and the plugins are not loaded.
        words += [f"--backend-config=tensorrt,plugins={TENSORRT_LIBRARY}"] * (TENSORRT_LIBRARY in self.libraries)
        words += ["--backend-config=tensorrt,version-compatible=true"] * self.version_compatible
        return words


def _check(repository: Path, deployments: list[Deployment]) -> None:
    faults = {
        f"{path.relative_to(repository)} {i + 1}": fault
        for deployment in deployments
        for path in (deployment.path / TRITON_FILE, deployment.path / PLAN_CONFIG)
        if path.is_file()
        for i, fault in enumerate(lint(path, deployment.path.name))
    }
    if faults:
        raise UsageError("Triton would not serve this as it is meant", facts=faults, hint="correct the files")


def _compatible(deployment: Deployment) -> bool:
    """Whether the newest plan, which is the one that is served, is version-compatible."""
    plans = {
        int(version): record
        for version, record in deployment.info.builds.items()
        if isinstance(record, TensorRTBuild) and record.backend == "tensorrt"
    }
    return bool(plans) and plans[max(plans)].version_compatible
