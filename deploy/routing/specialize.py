"""Static specialization: chooses the route that an export bakes in, and measures what is lost by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adroit.deploy.deployment.records import AgreementRecord, RouteOrigin, RoutingForm
from adroit.deploy.export.deployment import Routing
from adroit.deploy.routing.collect import Progress
from adroit.deploy.routing.named_routes import COMMON_SHARE, common_route, named_route
from adroit.deploy.routing.replay import ReplayAgreement, network_routes, replay
from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.data.images import ImageSet
from adroit.models.routing.route import Route


@dataclass(frozen=True)
class Specialization:
    """A route to bake in.

    Attributes:
        route: its paths.
        name: as requested: "common", "all", "none", a topology's name or a file.
        share: of the images that open each of its paths at least, where it is common.
        gate_threshold: at which images were run.
        agreement: with the dynamic network, where there were images.
    """

    route: Route
    name: str
    share: float | None = None
    gate_threshold: float = 0.0
    agreement: ReplayAgreement | None = None

    @property
    def origin(self) -> RouteOrigin:
        """The route's origin, as adroit.json records it."""
        agreement = AgreementRecord(**dataclasses.asdict(self.agreement)) if self.agreement else None
        return RouteOrigin(self.name, self.share, self.gate_threshold, agreement)


def specialize(
    checkpoint: Path,
    name: str,
    images: ImageSet | None = None,
    share: float = COMMON_SHARE,
    gate_threshold: float = 0.0,
    progress: Progress | None = None,
) -> Specialization:
    """Chooses the route called `name` ("common", or see named_route) for the network at `checkpoint`.

    Args:
        images: needed for "common", whose paths they decide; agreement is measured on them.
        share: see common_route. gate_threshold: of the dynamic network.

    Raises:
        UsageError: no network of a routing space, no such route, or "common" without gates or images.
        UnsupportedModel: as load_checkpoint.
    """
    from adroit.models.networks.dynamic_routing.network import DynamicRouting

    network, config = load_checkpoint(checkpoint)
    if not isinstance(network, DynamicRouting):
        raise UsageError(f"{config.architecture} has no routing space", hint="leave --route out")
    if name != "common":
        route = named_route(name, network.space)
    elif images is None:
        raise UsageError("the common route is made from images", hint="give them with --data")
    elif network.gate == "none":
        raise UsageError("a network without gates has no common route: every image takes all paths")
    else:
        route = common_route(network_routes(network, config.preprocessing, images, gate_threshold, progress), share)
    agreement = None
    if images is not None:
        agreement = ReplayAgreement.of(replay(network, config.preprocessing, images, route, gate_threshold, progress))
    return Specialization(route, name, share if name == "common" else None, gate_threshold, agreement)


def routing_choice(
    checkpoint: Path,
    form: RoutingForm | None,
    route: str | None,
    images: ImageSet | None,
    share: float = COMMON_SHARE,
    gate_threshold: float | None = None,
    progress: Progress | None = None,
    on_route: Callable[[Specialization], None] | None = None,
) -> Routing | None:
    """Decides how the network at `checkpoint` is exported; None leaves it to the export.

    Args:
        form: "if", "masked" or "static". route: the name of a route to bake in, which is the "static" form.
        images, share, progress: as specialize. gate_threshold: to bake in; an input of the model if None.
        on_route: called with the route that was chosen.

    Raises:
        UsageError: arguments that do not go together, or as specialize. UnsupportedModel: as specialize.
    """
    if route is None and images is not None:
        raise UsageError("--data is for choosing a route and measuring it", hint="give --route common")
    if route is None:
        return None if form is None and gate_threshold is None else Routing(form or "if", None, gate_threshold)
    if form not in (None, "static"):
        raise UsageError(f"--route bakes a route in, which --routing {form} does not")
    special = specialize(checkpoint, route, images, share, gate_threshold or 0.0, progress)
    if on_route is not None:
        on_route(special)
    return Routing("static", None if route == "all" else special.route, gate_threshold, special.origin)
