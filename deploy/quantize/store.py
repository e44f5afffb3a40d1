"""The quantized deployment on disk: the float one's description and checkpoint round another model."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import msgspec
import onnx

from adroit import files
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import DESCRIPTION_FILE, MODEL_FILE, REFERENCE_FOLDER, TRITON_FILE
from adroit.deploy.deployment.records import ModelRecord, OperatorUse, QuantizationRecord
from adroit.deploy.deployment.replacing import check_place
from adroit.deploy.deployment.triton_configuration import triton_config
from adroit.deploy.deployment.writer import replacing_deployment, write_description
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.operators.definitions import DOMAIN, operators
from adroit.errors import UsageError
from adroit.version import __version__


def check_target(deployment: Deployment, repository: Path, name: str, replace: bool) -> Path:
    """The folder that `store` writes, before the long work.

    Raises:
        UsageError: as check_place, or the float deployment itself.
    """
    folder = check_place(repository, name, replace)
    if folder.exists() and folder.resolve() == deployment.path.resolve():
        raise UsageError(f"{folder} is the float32 deployment itself", hint="choose another --name")
    files.check_writable(folder / DESCRIPTION_FILE if folder.exists() else repository / f"{name}.new")
    return folder


def store(
    deployment: Deployment, model: onnx.ModelProto, folder: Path, quantization: QuantizationRecord, replace: bool
) -> Deployment:
    """Writes `model` as a deployment in `folder`, whole or not at all; all but the model is `deployment`'s.

    Args:
        replace: whether all that an old deployment there holds may be deleted.

    Raises:
        UsageError, OutOfResource: as adroit.files.atomic_folder.
    """
    custom = Counter(n.op_type for n in all_nodes(model.graph) if n.domain == DOMAIN)
    info = deployment.info
    with replacing_deployment(folder, replace) as temporary:
        files.write_bytes(temporary / MODEL_FILE, model.SerializeToString(deterministic=True))
        if (deployment.path / REFERENCE_FOLDER).is_dir():
            shutil.copytree(deployment.path / REFERENCE_FOLDER, temporary / REFERENCE_FOLDER)
        quantized = msgspec.structs.replace(
            info,
            name=folder.name,
            operators={n: OperatorUse(operators()[n].version, custom[n]) for n in sorted(custom)},
            model=ModelRecord(MODEL_FILE, files.sha256(temporary / MODEL_FILE)),
            tools={**info.tools, "adroit": __version__},
            quantization=quantization,
            parity=None,
            builds={},
        )
        files.write_bytes(temporary / TRITON_FILE, triton_config(quantized).encode())
        write_description(temporary, quantized)
    return Deployment.read(folder)
