"""The budget table of a deployment: what each gate threshold costs, and what it loses.

`adroit budget` measures it (deploy/routing/budget/calibrate.py) and stores it in adroit.json;
deploy/routing/budget/table.py looks thresholds up in it. Imports no torch: serving uses it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adroit.deploy.deployment.records import Facts, Record
from adroit.validation import Count, ImageSize, NonNegative, PositiveInt, Share, convert_values

# Bins of the histograms of gates: closed (0), and open ones by tenths: (0, 0.1], (0.1, 0.2], ... (0.9, 1].
GATE_BINS = 11


class BudgetCost(Record, frozen=True):
    """What one image costs at batch 1, over the images of the calibration: the mean, and the most expensive image."""

    mean: NonNegative
    worst: NonNegative

    def __post_init__(self) -> None:
        if self.mean > self.worst:
            raise ValueError(f"the mean {self.mean} is above the worst {self.worst}")

    @classmethod
    def of(cls, images: Sequence[float]) -> BudgetCost:
        """The cost of images that cost `images` each; at least one."""
        worst = max(images)
        return cls(min(fmean(images), worst), worst)  # rounding may put the mean of equal ones above them


class Setting(Record, frozen=True):
    """One row of the table.

    Attributes:
        threshold: paths whose gate is not above it are closed; 0 is the network as trained, 1 closes all.
        gigaflops: operations / 1e9 of what the route executes, in the tool's own counting.
        paper_gigaflops: the same route in the paper's counting (models/routing/cost.py).
        milliseconds: measured on some of the images; worst is the median of the slowest one.
        agreement: share of the pixels that get the class they get at threshold 0.
        routes: how many different ones the images took.
        predicted_milliseconds: of all images, by their routes (deploy/deployment/latency_table.py); None where
            the runtime has no predictor.
        accuracy: mean intersection over union, 0 to 1; None without label maps.
        instability: how far the mean operations of other images may be from these, as a share
            (deploy/routing/budget/stability.py); None where there are too few images.
        gates: how often their gates had a value of each of the GATE_BINS; None in tables of format 1.
    """

    threshold: Share
    gigaflops: BudgetCost
    paper_gigaflops: BudgetCost
    milliseconds: BudgetCost
    agreement: Share
    routes: Count
    predicted_milliseconds: BudgetCost | None = None
    accuracy: Share | None = None
    instability: NonNegative | None = None
    gates: Annotated[tuple[Count, ...], Meta(min_length=GATE_BINS, max_length=GATE_BINS)] | None = None

    def __post_init__(self) -> None:
        if self.gates is not None and not sum(self.gates):
            raise ValueError("gates counts none")


class BudgetTable(Record, frozen=True):
    """The result of `adroit budget`.

    Attributes:
        checkpoint: sha256 of the weights that it holds for.
        images: how many it was calibrated on. size: (height, width) of their inputs, in pixels.
        facts: machine and runtime of the milliseconds.
        settings: thresholds from 0 to 1, rising; mean operations fall with them.
    """

    checkpoint: str
    images: PositiveInt
    size: ImageSize
    facts: Facts
    settings: Annotated[tuple[Setting, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        ordered = all(
            a.threshold < b.threshold and a.gigaflops.mean > b.gigaflops.mean
            for a, b in itertools.pairwise(self.settings)
        )
        if not ordered or self.settings[0].threshold != 0.0:
            raise ValueError("thresholds must rise from 0, and operations fall")

    def for_size(self, size: tuple[int, int]) -> BudgetTable:
        """The table for inputs of `size` (height, width): every cost grows with the pixels."""
        times = size[0] * size[1] / (self.size[0] * self.size[1])

        def grown(cost: BudgetCost) -> BudgetCost:
            return BudgetCost(times * cost.mean, times * cost.worst)

        settings = tuple(
            msgspec.structs.replace(
                setting,
                gigaflops=grown(setting.gigaflops),
                paper_gigaflops=grown(setting.paper_gigaflops),
                milliseconds=grown(setting.milliseconds),
                predicted_milliseconds=setting.predicted_milliseconds and grown(setting.predicted_milliseconds),
            )
            for setting in self.settings
        )
        return msgspec.structs.replace(self, size=size, settings=settings)

    def to_json(self) -> dict[str, Any]:
        """The table as JSON objects and lists."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BudgetTable:
        """Reads what `to_json` writes; raises UsageError, with the place, for anything else."""
        return convert_values(values, cls, source="the budget table", noun="a budget table")
