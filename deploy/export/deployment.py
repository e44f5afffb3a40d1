"""Exports a checkpoint as a deployment of a model repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.records import RouteOrigin, RouteRecord, RoutingForm, RoutingRecord, StemRecord
from adroit.deploy.deployment.replacing import check_place
from adroit.deploy.export.graph import export_graph
from adroit.deploy.export.routed import export_routed_graph
from adroit.deploy.export.write import Exported, Form, write_deployment
from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
from adroit.models.networks.architectures import architecture_named
from adroit.models.routing.route import Route

if TYPE_CHECKING:
    from torch import nn


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
    replace: bool = False,
) -> Deployment:
    """Exports the checkpoint at `checkpoint` to `repository`/`name`, whole or not at all.

    Args:
        name: the deployment's name; the architecture's if None.
        form: "operators" writes adroit's operators with their portable bodies, "portable" standard
            ONNX operators only.
        routing: of a routed network; "if", or "static" where it has no gates, if None.
        replace: whether builds, tables and files of an old deployment there may be deleted.

    Raises:
        UsageError: unreadable checkpoint, a name that is none, an unwritable repository.
        UnsupportedModel: weights that do not fit or are not finite, or a network that cannot be traced.
    """
    network, config = load_checkpoint(checkpoint)
    architecture = architecture_named(config.architecture)
    name = name or architecture.name
    check_place(repository, name, replace)

    def save_reference(folder: Path) -> tuple[Path, Path | None]:
        save_checkpoint(folder, network, config)
        return folder / WEIGHTS, None

    size = config.preprocessing.size or architecture.input_size
    model, routed = _graph(network, routing, len(config.preprocessing.mean), size, architecture.any_size)
    exported = Exported(
        model=model,
        architecture=config.architecture,
        task=architecture.task,
        input_size=size,
        preprocessing=config.preprocessing,
        labels=config.labels,
        source=config.source,
        save_reference=save_reference,
        routing=routed,
    )
    return write_deployment(exported, repository, name, form, replace)


def _graph(
    network: nn.Module, routing: Routing | None, channels: int, size: tuple[int, int], any_size: bool
) -> tuple[onnx.ModelProto, RoutingRecord | None]:
    """Traces the network; returns the model, and the record of its routing."""
    from adroit.models.networks.dynamic_routing.network import DynamicRouting
    from adroit.models.routing.space import USUAL_STEM

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
        stem=None if network.stem == USUAL_STEM else StemRecord(network.stem.channels, network.stem.separable),
    )
    return export_routed_graph(network, chosen.form, chosen.route, chosen.threshold), record
