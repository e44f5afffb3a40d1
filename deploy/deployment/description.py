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
from adroit.errors import UsageError
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.networks.architectures import Task
from adroit.validation import ImageSize, PositiveInt

FORMAT: Final = 2

# A number of a version folder, as it is written.
Version = Annotated[str, Meta(pattern="^[1-9][0-9]*$")]
TensorSpecs = Annotated[tuple[TensorSpec, ...], Meta(min_length=1)]


class Description(Record, frozen=True, kw_only=True):
    """All that adroit.json holds.

    Attributes:
        format: of the file; deploy/deployment/reading.py reads older ones.
        architecture: one of ours, or where a user's own network is from, as "net.py:Classifier".
        task: what the first output means: "classification" (logits [N,classes]), "segmentation" (logits
            [N,classes,H,W]), "depth" ([N,H,W] or [N,1,H,W]); "tensors" where it is none of these.
        form: "operators" (adroit's, with bodies) or "portable" (standard ones only).
        routing: of a routed network.
        inputs, outputs: the model's, each with the batch first. Where there is preprocessing, the first input is
            the image.
        input_size: (height, width) in pixels of a typical image; None where the inputs are no image.
        usual_sizes: of other free dimensions, by name.
        preprocessing: from an image to the first input; None where the inputs are no image.
        operators: custom operators by name.
        checkpoint: that it was exported from. model: the exported file. tools: versions that exported it.
        reference: what `check` compares with: a "checkpoint" of ours, or the stored "program" of another network.
        parity: the last verdict of `adroit check`, or None.
        quantization: of a deployment in 8 bits, how it was made; else None.
        builds: of `adroit build`, by version folder.
        budget: of a routed network: the table of `adroit budget`, or None.
        latency: of a routed network: the table of `adroit profile`, or None.
    """

    format: Literal[2] = FORMAT
    name: str
    architecture: str
    task: Task
    form: Literal["operators", "portable"]
    routing: RoutingRecord | None
    inputs: TensorSpecs
    outputs: TensorSpecs
    input_size: ImageSize | None
    preprocessing: Preprocessing | None
    labels: tuple[str, ...]
    operators: Mapping[str, OperatorUse]
    checkpoint: CheckpointRecord
    model: ModelRecord
    tools: Mapping[str, str]
    reference: Literal["checkpoint", "program"] = "checkpoint"
    usual_sizes: Mapping[str, PositiveInt] = msgspec.field(default_factory=dict)
    parity: ParityVerdict | None = None
    quantization: QuantizationRecord | None = None
    builds: Mapping[Version, BuildRecord] = msgspec.field(default_factory=dict)
    budget: BudgetTable | None = None
    latency: LatencyTable | None = None

    def usual_shape(self, spec: TensorSpec, batch: int = 1, size: tuple[int, int] | None = None) -> tuple[int, ...]:
        """A typical shape of one of the inputs.

        Args:
            batch: how many samples. size: (height, width) in pixels of the image, instead of its typical one.

        Raises:
            UsageError: `size` for a network that takes no images, or another one than it takes.
        """
        if size is not None and self.input_size is None:
            raise UsageError(f"{self.name} takes no images, so there is no size to set", hint="leave the size out")
        height, width = size or self.input_size or (1, 1)
        sizes = {"batch": batch, "thresholds": batch, "height": height, "width": width, **self.usual_sizes}
        shape = tuple(sizes[s] if isinstance(s, str) else s for s in spec.shape)
        if size is not None and len(shape) == 4 and shape[2:] != size:
            raise UsageError(
                f"{self.name} takes images of {shape[2]} x {shape[3]} pixels alone, not {size[0]} x {size[1]}",
                hint="leave the size out",
            )
        return shape
