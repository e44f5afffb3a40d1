"""The table of latencies of a routed network: what each of its parts takes.

`adroit profile` measures it (deploy/routing) and stores it in adroit.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from adroit.deploy.deployment.records import Facts, Record
from adroit.errors import UsageError
from adroit.models.routing.route import Route
from adroit.validation import ImageSize, NonNegative, Positive, convert_values

# A speed is not used where it changes by more; the memory of a quiet machine alone changed it by up to 0.13 in ten
# seconds.
UNSTEADY = 0.2


class Speed(Record, frozen=True):
    """The speed of a machine while something was measured (deploy/routing, speed.py).

    Attributes:
        milliseconds: median of the reference runs beside it.
        spread: how far the medians of their five fifths lie apart, as a share of the median.
    """

    milliseconds: Positive
    spread: NonNegative

    @property
    def steady(self) -> bool:
        """Whether the machine kept about one speed."""
        return self.spread <= UNSTEADY


class LatencyTable(Record, frozen=True):
    """Milliseconds of each part, for one image of `size` (height, width) on one machine.

    Attributes:
        parts: "always" (stem, head and what every route pays), and by scale "gate 1", "cell 0",
            "keep 0", "up 1", "down 0", ...: of one node or path there. Gates of scale 0 always run.
        error: relative error of the prediction on the routes measured, 95th percentile.
        speed: of the machine meanwhile.
        model: sha256 of the model. machine, runtime: where and how it was measured.
    """

    size: ImageSize
    parts: Mapping[str, NonNegative]
    error: NonNegative
    speed: Speed
    model: str
    machine: Facts
    runtime: Facts

    def predict(self, route: Route) -> float:
        """Milliseconds of one image along `route`."""
        return sum(self.parts[part] * count for part, count in parts_of(route).items())

    def scaled(self, now: Speed) -> LatencyTable:
        """The table as it would have been measured at the speed `now`."""
        scale = now.milliseconds / self.speed.milliseconds
        parts = {part: scale * milliseconds for part, milliseconds in self.parts.items()}
        return msgspec.structs.replace(self, parts=parts, speed=now)

    def to_json(self) -> dict[str, Any]:
        """The table as JSON objects and lists."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LatencyTable:
        """Reads what `to_json` writes; raises UsageError, with the place, for anything else."""
        try:
            return convert_values(values, cls, source="the table of latencies", noun="a table of latencies")
        except UsageError as error:
            hint = error.hint or "measure it again: adroit profile DEPLOYMENT --data IMAGES"
            raise UsageError(error.message, facts=error.facts, hint=hint) from error


def parts_of(route: Route) -> dict[str, int]:
    """How often each part runs along `route`; every part of the space is there."""
    space = route.space
    counts = Counter({"always": 1})
    for path in space.paths:
        node = path.node
        counts[f"cell {node.scale}"] += 0
        counts[f"{path.kind} {node.scale}"] += route.is_open(node) and path.kind in route.open_kinds(node)
    for node in space.nodes:
        counts[f"cell {node.scale}"] += route.is_open(node)
        if node.scale:
            counts[f"gate {node.scale}"] += route.is_live(node)
    return dict(counts)
