"""The report of `adroit check`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adroit.deploy.parity.consistency import ConsistencyReport
from adroit.deploy.parity.tolerance import Comparison


@dataclass(frozen=True)
class LayerParity:
    """One intermediate tensor: the ONNX node that computes it, the module whose output it is."""

    node: str
    module: str
    comparison: Comparison


@dataclass(frozen=True)
class RouteAgreement:
    """Gates of a routed network, open or closed, in the deployment and in the float64 network.

    Attributes:
        gates: how many were compared, over all images. different: how many differ.
        largest_gate: of those that differ, the largest value on either side, that is its distance from
            the threshold; 0 where none differs.
        routes: how many different routes the images took.
    """

    gates: int
    different: int
    largest_gate: float
    routes: int


@dataclass(frozen=True)
class ParityReport:
    """The verdict over all images.

    Attributes:
        facts: what ran (Runtime.facts).
        images: how many samples were compared.
        outputs: the worst comparison of each output, by name; its index is (sample, ...).
        argmax_equal: share of the predictions (images, or pixels) of the same class, 0 to 1; None where the task has
            no classes.
        top1: accuracy of deployment and reference, each 0 to 1, where labels are given.
        mean_iou: mean intersection over union of deployment and network, where label maps are given.
        consistency: how often the predictions of both survive a shift of the image, where requested.
        routes: of a routed network.
        layers: in graph order, where requested.
        network: the comparison of the user's own network, in float32, by output; None where it was not given.
        empirical: operations of the network whose limit was measured (float32 against float64), for want of a rule.
    """

    facts: dict[str, Any]
    images: int
    outputs: Mapping[str, Comparison]
    argmax_equal: float | None
    top1: tuple[float, float] | None
    mean_iou: tuple[float, float] | None = None
    consistency: ConsistencyReport | None = None
    routes: RouteAgreement | None = None
    layers: Sequence[LayerParity] = field(default_factory=list)
    empirical: Sequence[str] = ()
    network: Mapping[str, Comparison] | None = None

    @property
    def output(self) -> Comparison:
        """The comparison of the output that uses most of its limit."""
        return max(self.outputs.values(), key=lambda comparison: comparison.used)

    @property
    def passed(self) -> bool:
        """Whether the outputs, every compared layer and the user's own network are within their limits."""
        return self.output.passed and self.first_wrong_layer is None and self.network_passed

    @property
    def network_passed(self) -> bool:
        """Whether the user's own network, where it was given, computes what the deployment's reference does."""
        return all(comparison.passed for comparison in (self.network or {}).values())

    @property
    def first_wrong_layer(self) -> LayerParity | None:
        """The first layer in graph order that is outside its limit, or None."""
        return next((layer for layer in self.layers if not layer.comparison.passed), None)

    def to_json(self) -> dict[str, Any]:
        """Returns every field, and whether it passed, as JSON values."""
        return {"passed": self.passed, "output": dataclasses.asdict(self.output), **dataclasses.asdict(self)}
