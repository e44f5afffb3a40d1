"""Writes what was exported as a deployment of a model repository."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnx

from adroit import files
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.names import MODEL_FILE, REFERENCE_FOLDER, TRITON_FILE
from adroit.deploy.deployment.records import CheckpointRecord, ModelRecord, OperatorUse, RoutingRecord
from adroit.deploy.deployment.replacing import check_place
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.deployment.triton_configuration import triton_config
from adroit.deploy.deployment.writer import replacing_deployment, write_description
from adroit.deploy.export.graph import inline_bodies
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.operators.definitions import DOMAIN, operators
from adroit.errors import UsageError
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.networks.architectures import Task
from adroit.version import __version__

Form = Literal["operators", "portable"]


@dataclass(frozen=True)
class Exported:
    """A network in ONNX, and what its deployment says of it (deploy/deployment/description.py).

    Attributes:
        model: with adroit's operators.
        source: where the network and its weights are from.
        save_reference: writes what `check` compares with into the folder that it gets, and returns the paths there
            of the weights and, of a stored program, of the program.
    """

    model: onnx.ModelProto
    architecture: str
    task: Task
    input_size: tuple[int, int] | None
    preprocessing: Preprocessing | None
    labels: Sequence[str]
    source: Mapping[str, Any]
    save_reference: Callable[[Path], tuple[Path, Path | None]]
    routing: RoutingRecord | None = None
    usual_sizes: Mapping[str, int] = field(default_factory=dict)


def write_deployment(exported: Exported, repository: Path, name: str, form: Form, replace: bool) -> Deployment:
    """Writes `repository`/`name`, whole or not at all.

    Args:
        form: "operators" writes adroit's operators with their portable bodies, "portable" standard
            ONNX operators only.
        replace: whether all that an old deployment there holds may be deleted.

    Raises:
        UsageError: labels that are not the classes, a name that is none, an unwritable repository.
    """
    folder = check_place(repository, name, replace)
    model = inline_bodies(exported.model) if form == "portable" else exported.model
    _check_labels(exported.labels, model)
    custom = Counter(n.op_type for n in all_nodes(model.graph) if n.domain == DOMAIN)
    with replacing_deployment(folder, replace) as temporary:
        files.write_bytes(temporary / MODEL_FILE, model.SerializeToString(deterministic=True))
        weights, program = exported.save_reference(temporary / REFERENCE_FOLDER)
        info = Description(
            name=name,
            architecture=exported.architecture,
            task=exported.task,
            form=form,
            routing=exported.routing,
            inputs=tuple(map(spec_of, model.graph.input)),
            outputs=tuple(map(spec_of, model.graph.output)),
            input_size=exported.input_size,
            usual_sizes=dict(exported.usual_sizes),
            preprocessing=exported.preprocessing,
            labels=tuple(exported.labels),
            operators={n: OperatorUse(operators()[n].version, custom[n]) for n in sorted(custom)},
            checkpoint=CheckpointRecord(
                files.sha256(weights), dict(exported.source), files.sha256(program) if program else None
            ),
            reference="program" if program else "checkpoint",
            model=ModelRecord(MODEL_FILE, files.sha256(temporary / MODEL_FILE)),
            tools={
                "adroit": __version__,
                **{t: importlib.metadata.version(t) for t in ("torch", "onnx", "onnxscript")},
            },
        )
        files.write_bytes(temporary / TRITON_FILE, triton_config(info).encode())
        write_description(temporary, info)
    return Deployment.read(folder)


def spec_of(value: onnx.ValueInfoProto) -> TensorSpec:
    """The name, dtype and dimensions of an input or output of a model."""
    tensor = value.type.tensor_type
    shape = tuple(d.dim_param if d.HasField("dim_param") else d.dim_value for d in tensor.shape.dim)
    return TensorSpec(value.name, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, shape)


def _check_labels(labels: Sequence[str], model: onnx.ModelProto) -> None:
    if not labels:
        return
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    if len(labels) != classes:
        raise UsageError(f"there are {len(labels)} labels for {classes} classes")
    if len(set(labels)) < len(labels):
        raise UsageError("two labels are the same", hint="give each class a name of its own")
