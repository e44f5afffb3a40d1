"""The quantised deployment on disk: the float one's description and checkpoint round another model."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from deploy import __version__
from deploy.entry import INFO, MODEL, REFERENCE, Entry, all_nodes, check_name
from deploy.operators import DOMAIN, operators
from deploy.triton.config import triton_config
from models import files
from models.errors import UsageError


def check_place(entry: Entry, repository: Path, name: str) -> Path:
    """The folder that `store` writes, before the long work.

    Raises:
        UsageError: a name that is none, a folder that is no deployment, or the float deployment itself.
    """
    folder = repository / check_name(name)
    if folder.exists() and not (folder / INFO).exists():
        raise UsageError(f"{folder} exists and is not a deployment", hint="choose another --name or folder")
    if folder.exists() and folder.resolve() == entry.path.resolve():
        raise UsageError(f"{folder} is the float32 deployment itself", hint="choose another --name")
    files.check_writable(folder / INFO) if folder.exists() else files.check_writable(repository / f"{name}.new")
    return folder


def store(entry: Entry, model: onnx.ModelProto, folder: Path, quantisation: Mapping[str, Any]) -> Entry:
    """Writes `model` as a deployment in `folder`, whole or not at all; all but the model is `entry`'s.

    Raises:
        UsageError, OutOfResource: as models.files.atomic_folder.
    """
    custom = Counter(n.op_type for n in all_nodes(model.graph) if n.domain == DOMAIN)
    info = entry.info
    with files.atomic_folder(folder) as temporary:
        files.write_bytes(temporary / MODEL, model.SerializeToString(deterministic=True))
        if (entry.path / REFERENCE).is_dir():
            shutil.copytree(entry.path / REFERENCE, temporary / REFERENCE)
        made = dataclasses.replace(
            info,
            name=folder.name,
            operators={n: {"version": operators()[n].version, "nodes": custom[n]} for n in sorted(custom)},
            model={"file": MODEL, "sha256": files.sha256(temporary / MODEL)},
            tools={**info.tools, "adroit": __version__},
            quantisation=quantisation,
            parity=None,
            builds={},
        )
        files.write_bytes(temporary / "config.pbtxt", triton_config(made).encode())
        made.write(temporary)
    return Entry.read(folder)
