"""Where a build goes: a new version folder of the deployment, and a record of it in adroit.json.

    <deployment>/<version>/model.plan | model.onnx   the build, nothing added to it
    <deployment>/<version>/float32.json              of fp16 builds: the nodes that stay float32, and why
    <deployment>/adroit.json                         builds: {"<version>": record}

Triton gives all versions of a model one backend, and would take the newest: config.pbtxt names the exported model,
and configs/tensorrt.pbtxt, where there is a plan, names that one (`tritonserver --model-config-name=tensorrt`).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import msgspec

from adroit import files
from adroit.deploy.build.half import Kept
from adroit.deploy.deployment.builds import BuildRecord, TensorRTBuild
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.names import TRITON_FILE
from adroit.deploy.deployment.replacing import is_edited, plan_config_is_edited
from adroit.deploy.deployment.triton_configuration import PLAN_CONFIG, plan_config, triton_config
from adroit.deploy.deployment.writer import editing
from adroit.errors import AdroitWarning
from adroit.version import __version__

FLOAT32 = "float32.json"
_MODEL_ONLY = "version_policy { specific { versions: [ 1 ] } }"


class BuiltFile(TypedDict):
    """The fields that the records of all builds share, but for the builder."""

    precision: str
    model: str
    adroit: str
    file: str
    sha256: str
    bytes: int


def built_file(deployment: Deployment, precision: str, path: Path) -> BuiltFile:
    """The record's fields of the file that was built at `path`."""
    return {
        "precision": precision,
        "model": deployment.info.model.sha256,
        "adroit": __version__,
        "file": path.name,
        "sha256": files.sha256(path),
        "bytes": path.stat().st_size,
    }


def store(deployment: Deployment, built: Path, kept: Sequence[Kept], record: BuildRecord) -> tuple[Deployment, str]:
    """Copies the file `built` into a new version of `deployment`, whole or not at all.

    Args:
        record: of the build; its `file` is then the path in the deployment.

    Returns:
        the deployment as it is now, and the version.

    Raises:
        UsageError, OutOfResource: as adroit.files.atomic_folder, and as editing.
    """
    with editing(deployment) as editor:
        info = editor.description
        version = str(1 + max([int(p.name) for p in deployment.path.iterdir() if p.name.isdigit()], default=0))
        record = msgspec.structs.replace(record, file=f"{version}/{built.name}")
        # In this order a failure leaves a deployment that works as before.
        _keep_to_model(deployment.path, info)
        with files.atomic_folder(deployment.path / version) as temporary:
            files.write_bytes(temporary / built.name, built.read_bytes())
            if kept:
                files.write_json(temporary / FLOAT32, {"nodes": [dataclasses.asdict(k) for k in kept]})
        if isinstance(record, TensorRTBuild) and record.backend == "tensorrt":
            _point_to_plan(deployment.path, info, int(version), record)
        return editor.write(builds={**info.builds, version: record}), version


def _keep_to_model(folder: Path, info: Description) -> None:
    """Triton must not serve the new version by the configuration of the exported model; the user's edits stay."""
    path, text = folder / TRITON_FILE, triton_config(info, versions=[1])
    if is_edited(path, triton_config(info), text):
        edited = files.read_text(path, "the configuration of Triton")
        if "version_policy" in edited:
            return
        text = f"{edited.rstrip()}\n{_MODEL_ONLY}\n"
        warnings.warn(f"{path} was edited: `{_MODEL_ONLY}` is added, the rest stays", AdroitWarning, stacklevel=2)
    files.write_bytes(path, text.encode())


def _point_to_plan(folder: Path, info: Description, version: int, record: TensorRTBuild) -> None:
    path = folder / PLAN_CONFIG
    if plan_config_is_edited(folder, info):
        warnings.warn(
            f"{path} was edited and stays as it is: change its version_policy to {version} for the new plan",
            AdroitWarning,
            stacklevel=2,
        )
        return
    files.write_bytes(path, plan_config(info, version, record).encode())
