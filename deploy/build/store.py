"""Where a build goes: a new version folder of the deployment, and a record of it in adroit.json.

    <deployment>/<version>/model.plan | model.onnx   the build, nothing added to it
    <deployment>/<version>/float32.json              of fp16 builds: the nodes that stay float32, and why
    <deployment>/adroit.json                         builds: {"<version>": record}

Triton gives all versions of a model one backend, and would take the newest: config.pbtxt is told to
go on with the exported model, and configs/tensorrt.pbtxt, where there is a plan, tells of that one
(`tritonserver --model-config-name=tensorrt`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adroit import files
from adroit.deploy.build.half import Kept
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.triton_configuration import PLAN_CONFIG, plan_config, triton_config

FLOAT32 = "float32.json"


def store(
    deployment: Deployment, built: Path, kept: Sequence[Kept], record: Mapping[str, Any]
) -> tuple[Deployment, str]:
    """Copies the file `built` into a new version of `deployment`, whole or not at all.

    Returns:
        the deployment as it is now, and the version.

    Raises:
        UsageError, OutOfResource: as adroit.files.atomic_folder.
    """
    version = str(1 + max([int(p.name) for p in deployment.path.iterdir() if p.name.isdigit()], default=0))
    info = deployment.info
    content = built.read_bytes()
    record = {**record, "file": f"{version}/{built.name}", "sha256": files.sha256(built), "bytes": len(content)}
    updated = dataclasses.replace(info, builds={**info.builds, version: record})
    # In this order a failure leaves a deployment that works as before.
    files.write_bytes(deployment.path / "config.pbtxt", triton_config(info, versions=[1]).encode())
    with files.atomic_folder(deployment.path / version) as temporary:
        files.write_bytes(temporary / built.name, content)
        if kept:
            files.write_json(temporary / FLOAT32, {"nodes": [dataclasses.asdict(k) for k in kept]})
    if record["backend"] == "tensorrt":
        files.write_bytes(deployment.path / PLAN_CONFIG, plan_config(info, int(version), record).encode())
    updated.write(deployment.path)
    return Deployment(deployment.path, updated), version
