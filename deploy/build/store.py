"""Where a build goes: a new version folder of the entry, and a record of it in adroit.json.

    <entry>/<version>/model.plan | model.onnx   the build, nothing added to it
    <entry>/<version>/float32.json              of fp16 builds: the nodes that stay float32, and why
    <entry>/adroit.json                         builds: {"<version>": record}

Triton gives all versions of a model one backend, and would take the newest: config.pbtxt is told to
go on with the exported model, and configs/tensorrt.pbtxt, where there is a plan, tells of that one
(`tritonserver --model-config-name=tensorrt`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.build.half import Kept
from deploy.entry import Entry
from deploy.triton.config import PLAN_CONFIG, plan_config, triton_config
from models import files

FLOAT32 = "float32.json"


def store(entry: Entry, built: Path, kept: Sequence[Kept], record: Mapping[str, Any]) -> tuple[Entry, str]:
    """Copies the file `built` into a new version of `entry`, whole or not at all.

    Returns:
        the entry as it is now, and the version.

    Raises:
        UsageError, OutOfResource: as models.files.atomic_folder.
    """
    version = str(1 + max([int(p.name) for p in entry.path.iterdir() if p.name.isdigit()], default=0))
    info = entry.info
    content = built.read_bytes()
    record = {**record, "file": f"{version}/{built.name}", "sha256": files.sha256(built), "bytes": len(content)}
    updated = dataclasses.replace(info, builds={**info.builds, version: record})
    # In this order a failure leaves a deployment that works as before.
    files.write_bytes(entry.path / "config.pbtxt", triton_config(info, versions=[1]).encode())
    with files.atomic_folder(entry.path / version) as temporary:
        files.write_bytes(temporary / built.name, content)
        if kept:
            files.write_json(temporary / FLOAT32, {"nodes": [dataclasses.asdict(k) for k in kept]})
    if record["backend"] == "tensorrt":
        files.write_bytes(entry.path / PLAN_CONFIG, plan_config(info, int(version), record).encode())
    updated.write(entry.path)
    return Entry(entry.path, updated), version
