"""The description of a deployment: all that adroit.json holds, typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from adroit.deploy.deployment.budget_table import BudgetTable
from adroit.deploy.deployment.builds import BuildRecord
from adroit.deploy.deployment.latency_table import LatencyTable
from adroit.deploy.deployment.records import (
    CheckpointRecord,
    ModelRecord,
    OperatorUse,
    ParityVerdict,
    QuantizationRecord,
    Record,
    RoutingRecord,
)
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.models.data.preprocessing import Preprocessing
from adroit.validation import ImageSize

FORMAT: Final = 2

# A number of a version folder, as it is written.
Version = Annotated[str, Meta(pattern="^[1-9][0-9]*$")]
TensorSpecs = Annotated[tuple[TensorSpec, ...], Meta(min_length=1)]


class Description(Record, frozen=True, kw_only=True):
    """All that adroit.json holds.

    Attributes:
        format: of the file; deploy/deployment/reading.py reads older ones.
        task: "classification" (logits [N,classes]) or "segmentation" (logits [N,classes,H,W]).
        form: "operators" (adroit's, with bodies) or "portable" (standard ones only).
        routing: of a routed network.
        inputs, outputs: the model's; the first input is the image, the first output the logits.
        input_size: (height, width) in pixels of a typical input.
        operators: custom operators by name.
        checkpoint: that it was exported from. model: the exported file. tools: versions that exported it.
        parity: the last verdict of `adroit check`, or None.
        quantization: of a deployment in 8 bits, how it was made; else None.
        builds: of `adroit build`, by version folder.
        budget: of a routed network: the table of `adroit budget`, or None.
        latency: of a routed network: the table of `adroit profile`, or None.
    """

    format: Literal[2] = FORMAT
    name: str
    architecture: str
    task: Literal["classification", "segmentation"]
    form: Literal["operators", "portable"]
    routing: RoutingRecord | None
    inputs: TensorSpecs
    outputs: TensorSpecs
    input_size: ImageSize
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    operators: Mapping[str, OperatorUse]
    checkpoint: CheckpointRecord
    model: ModelRecord
    tools: Mapping[str, str]
    parity: ParityVerdict | None = None
    quantization: QuantizationRecord | None = None
    builds: Mapping[Version, BuildRecord] = msgspec.field(default_factory=dict)
    budget: BudgetTable | None = None
    latency: LatencyTable | None = None
