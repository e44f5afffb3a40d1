"""Exports a checkpoint as a deployment of a model repository."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import onnx

from adroit import files
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.names import DESCRIPTION_FILE, MODEL_FILE, REFERENCE_FOLDER, TRITON_FILE, check_name
from adroit.deploy.deployment.records import (
    CheckpointRecord,
    ModelRecord,
    OperatorUse,
    RouteOrigin,
    RouteRecord,
    RoutingForm,
    RoutingRecord,
)
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.deployment.triton_configuration import triton_config
from adroit.deploy.deployment.writer import replacing_deployment, write_description
from adroit.deploy.export.graph import export_graph, inline_bodies
from adroit.deploy.export.routed import export_routed_graph
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.operators.definitions import DOMAIN, operators
from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
from adroit.models.networks.architectures import architecture_named
from adroit.models.routing.route import Route
from adroit.version import __version__

if TYPE_CHECKING:
    from torch import nn

Form = Literal["operators", "portable"]


@dataclass(frozen=True)
class Routing:
    """How a routed network is exported: see deploy/export/routed.py.

    `route` None is all paths; `threshold` None leaves the gates' threshold an input of the model. `origin`
    is how the route was chosen (deploy/routing/specialize.py).
    """

    form: RoutingForm = "if"
    route: Route | None = None
    threshold: float | None = None
    origin: RouteOrigin | None = None


def export_deployment(
    checkpoint: Path,
    repository: Path,
    name: str | None = None,
    form: Form = "operators",
    routing: Routing | None = None,
) -> Deployment:
    """Exports the checkpoint at `checkpoint` to `repository`/`name`, whole or not at all.

    Args:
        name: the deployment's name; the architecture's if None.
        form: "operators" writes adroit's operators with their portable bodies, "portable" standard
            ONNX operators only.
        routing: of a routed network; "if", or "static" where it has no gates, if None.

    Raises:
        UsageError: unreadable checkpoint, a name that is none, an unwritable repository.
        UnsupportedModel: weights that do not fit or are not finite, or a network that cannot be traced.
    """
    network, config = load_checkpoint(checkpoint)
    architecture = architecture_named(config.architecture)
    name = check_name(name or architecture.name)
    folder = repository / name
    if folder.exists() and not (folder / DESCRIPTION_FILE).exists():
        raise UsageError(f"{folder} exists and is not a deployment", hint="choose another --name or folder")

    size = config.preprocessing.size or architecture.input_size
    channels = len(config.preprocessing.mean)
    model, routed = _graph(network, routing, channels, size, architecture.any_size)
    if form == "portable":
        model = inline_bodies(model)
    _check_labels(config.labels, model)
    custom = Counter(n.op_type for n in all_nodes(model.graph) if n.domain == DOMAIN)
    inputs, outputs = (tuple(map(_spec, values)) for values in (model.graph.input, model.graph.output))

    with replacing_deployment(folder) as temporary:
        files.write_bytes(temporary / MODEL_FILE, model.SerializeToString(deterministic=True))
        save_checkpoint(temporary / REFERENCE_FOLDER, network, config)
        info = Description(
            name=name,
            architecture=config.architecture,
            task=architecture.task,
            form=form,
            routing=routed,
            inputs=inputs,
            outputs=outputs,
            input_size=size,
            preprocessing=config.preprocessing,
            labels=tuple(config.labels),
            operators={n: OperatorUse(operators()[n].version, custom[n]) for n in sorted(custom)},
            checkpoint=CheckpointRecord(files.sha256(temporary / REFERENCE_FOLDER / WEIGHTS), dict(config.source)),
            model=ModelRecord(MODEL_FILE, files.sha256(temporary / MODEL_FILE)),
            tools={
                "adroit": __version__,
                **{t: importlib.metadata.version(t) for t in ("torch", "onnx", "onnxscript")},
            },
        )
        files.write_bytes(temporary / TRITON_FILE, triton_config(info).encode())
        write_description(temporary, info)
    return Deployment.read(folder)


def _check_labels(labels: Sequence[str], model: onnx.ModelProto) -> None:
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    if labels and len(labels) != classes:
        raise UsageError(f"the checkpoint has {len(labels)} labels for {classes} classes")


def _graph(
    network: nn.Module, routing: Routing | None, channels: int, size: tuple[int, int], any_size: bool
) -> tuple[onnx.ModelProto, RoutingRecord | None]:
    """Traces the network; returns the model, and the record of its routing."""
    from adroit.models.networks.dynamic_routing.network import DynamicRouting

    if not isinstance(network, DynamicRouting):
        if routing is not None:
            raise UsageError("this network has no routing space", hint="leave --routing and --route out")
        return export_graph(network, channels, size, any_size), None
    chosen = routing or Routing("static" if network.gate == "none" else "if")
    record = RoutingRecord(
        form=chosen.form,
        gate=network.gate,
        depth=network.space.depth,
        width=network.space.width,
        route=RouteRecord(**chosen.route.to_json()) if chosen.route else None,
        threshold=chosen.threshold,
        origin=chosen.origin,
    )
    return export_routed_graph(network, chosen.form, chosen.route, chosen.threshold), record


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(d.dim_param if d.HasField("dim_param") else d.dim_value for d in tensor.shape.dim)
    return TensorSpec(value.name, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, shape)
