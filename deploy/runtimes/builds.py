"""The builds of a deployment: which of them a runtime opens."""

from __future__ import annotations

import re
from pathlib import Path

from adroit.deploy.deployment.builds import BuildRecord
from adroit.deploy.deployment.deployment import Deployment
from adroit.errors import UnsupportedModel, UsageError
from adroit.files import sha256


def find_build(deployment: Deployment, backend: str, version: int | None) -> tuple[str, BuildRecord, Path]:
    """Finds the deployment's build for `backend`, the newest or the one of `version`: its version, record and file.

    Raises:
        UsageError: there is none.
        UnsupportedModel: its file was changed, or it was built from another model.
    """
    builds = deployment.info.builds
    fitting = [v for v, record in builds.items() if record.backend == backend and version in (None, int(v))]
    hint = f"build one: adroit build {deployment.path} --backend {backend}"
    if not fitting:
        wanted = "" if version is None else f" with version {version}"
        present = ", ".join(f"{v} ({record.backend})" for v, record in builds.items())
        raise UsageError(
            f"{deployment.path} has no build for {backend}{wanted}", facts={"builds": present or "none"}, hint=hint
        )
    newest = max(fitting, key=int)
    record = builds[newest]
    # A description may come from anywhere; nothing outside the version's folder is read.
    if not re.fullmatch(re.escape(newest) + r"/model\.(plan|onnx)", record.file):
        raise UsageError(f"{deployment.path}: the file of build {newest} is {record.file!r}", hint=hint)
    path = deployment.path / record.file
    if not path.is_file():
        raise UsageError(f"build {newest} of {deployment.path} is missing: {path}", hint=hint)
    if sha256(path) != record.sha256:
        raise UnsupportedModel(f"{path} was changed after it was built", hint=hint)
    if record.model != deployment.info.model.sha256:
        raise UnsupportedModel(f"{path} was built from another model than {deployment.info.model.file}", hint=hint)
    return newest, record, path
