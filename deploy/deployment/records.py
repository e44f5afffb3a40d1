"""Small records of a deployment's description: where it is from, what it is made of, and how it was checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from adroit.deploy.operators.grid import Grid
from adroit.models.routing.cost import Gate
from adroit.models.routing.route import Route
from adroit.models.routing.space import USUAL_STEM, RoutingSpace, StemShape

# Facts of a machine or of a runtime, by name, as reports print them.
Fact = str | int | float | bool | tuple[str, ...] | None
Facts = Mapping[str, Fact]

RoutingForm = Literal["masked", "if", "static"]


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the description. A field that it does not have is a fault of the file."""


class OperatorUse(Record, frozen=True):
    """The version of one custom operator, and how many nodes of the model are of it."""

    version: int
    nodes: int


class CheckpointRecord(Record, frozen=True):
    """The checkpoint that the deployment was exported from.

    Attributes:
        sha256: of its weights' file in reference/.
        source: what the checkpoint says of its origin. Its keys are free.
        program: sha256 of the stored program, of a network that is not one of ours.
    """

    sha256: str
    source: Mapping[str, Any]
    program: str | None = None


class ModelRecord(Record, frozen=True):
    """The exported ONNX file, by its path in the deployment and its sha256."""

    file: str
    sha256: str


class AgreementRecord(Record, frozen=True):
    """How close a static route comes to the dynamic network, over all images (deploy/routing/replay.py).

    Attributes:
        images: how many were run.
        same_class: share of the pixels of the same class, 0 to 1.
        largest_difference, largest_logit: over all logits; None where they are not finite.
    """

    images: int
    same_class: float
    largest_difference: float | None
    largest_logit: float | None


class RouteOrigin(Record, frozen=True):
    """How a static route was chosen (deploy/routing/specialize.py).

    Attributes:
        name: "common", "all", "none", the name of a topology, or a file.
        share: of the images that open each path at least; None where the route is not the common one.
        gate_threshold: at which the images were run.
        agreement: with the dynamic network; None without images.
    """

    name: str
    share: float | None = None
    gate_threshold: float = 0.0
    agreement: AgreementRecord | None = None


class RouteRecord(Record, frozen=True):
    """A route as Route.to_json writes it: the kinds of the open paths by the name of their node."""

    depth: int
    width: int
    open: Mapping[str, tuple[str, ...]]


class StemRecord(Record, frozen=True):
    """A stem as StemShape has it: the channels of its first two convolutions, and whether the others are separable."""

    channels: int
    separable: bool


class RoutingRecord(Record, frozen=True):
    """The routing of a routed network.

    Attributes:
        form: "masked" (every path is computed), "if" (closed paths are not computed) or "static" (one route).
        gate: the kind of its gates, "none" for a network without them.
        depth, width: of its routing space.
        route: the route of the static form; None is all paths.
        threshold: the gates' threshold where it is baked in; None where it is an input, or there are no gates.
        origin: how the route was chosen.
        stem: what comes before the space; None for the usual one, separable and of the space's width.
    """

    form: RoutingForm
    gate: Gate
    depth: int
    width: int
    route: RouteRecord | None = None
    threshold: float | None = None
    origin: RouteOrigin | None = None
    stem: StemRecord | None = None

    @property
    def stem_shape(self) -> StemShape:
        """What comes before the space; raises UsageError for a negative number of channels."""
        return StemShape(self.stem.channels, self.stem.separable) if self.stem else USUAL_STEM

    @property
    def space(self) -> RoutingSpace:
        """The routing space; raises UsageError for a depth or width that no network has."""
        return RoutingSpace(self.depth, self.width)

    @property
    def baked_route(self) -> Route | None:
        """The route of the static form, None for all paths; raises UsageError for paths that are not in the space."""
        if self.route is None:
            return None
        return Route.from_json({"depth": self.route.depth, "width": self.route.width, "open": self.route.open})


class ParityVerdict(Record, frozen=True):
    """The last verdict of `adroit check`.

    Attributes:
        passed: whether every output was within its tolerance.
        used: largest share of the tolerance that was used; None where an output was not finite.
        images: how many were compared.
        facts: of the runtime (Runtime.facts).
    """

    passed: bool
    used: float | None
    images: int
    facts: Facts


class QuantizationSource(Record, frozen=True):
    """The float32 deployment that was quantized: its name, and the sha256 of its model."""

    name: str
    model: str


class QuantizationCost(Record, frozen=True):
    """Logits of a quantized network against those of the float network.

    Attributes:
        error: root mean square of their difference, as a share of the float logits' standard deviation.
        argmax_equal: share of the images of the same class, 0 to 1.
        top1: accuracy of the quantized and of the float network, 0 to 1; None without labels.
    """

    error: float
    argmax_equal: float
    top1: tuple[float, float] | None


class QuantizedLayer(Record, frozen=True, omit_defaults=True):
    """One layer in 8 bits.

    Attributes:
        clamped_weights: how many weights were outside of the activations' range.
        alone: the cost of the network with only this layer in 8 bits; None where it was not measured.
    """

    clamped_weights: float
    alone: QuantizationCost | None = None


class QuantizationRecord(Record, frozen=True):
    """How `adroit quantize` made a deployment in 8 bits.

    Attributes:
        data: the name of the calibration images. images: how many they were.
        method: by which the range of a tensor follows from its values. percentile: of that method, in percent.
        keep_float: names of the adder nodes that stay in float32.
        on_these_images: cost of the whole network on the calibration images.
        tensors: the 8-bit grid of each tensor. layers: each quantized node.
    """

    source: QuantizationSource
    data: str
    images: int
    method: str
    percentile: float | None
    bias_correction: bool
    keep_float: tuple[str, ...]
    on_these_images: QuantizationCost
    tensors: Mapping[str, Grid]
    layers: Mapping[str, QuantizedLayer]
