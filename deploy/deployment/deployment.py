"""A deployment on disk: a deployment of a model repository, readable by Triton Inference Server too.

    <repository>/<name>/config.pbtxt        Triton's configuration
    <repository>/<name>/1/model.onnx        the model
    <repository>/<name>/2/model.plan        what `adroit build` made of it, if anything (deploy/build/store.py)
    <repository>/<name>/adroit.json         provenance, preprocessing, labels, parity verdict (Description)
    <repository>/<name>/reference/          the checkpoint that it was made from: what parity is checked against

Nothing executable is loaded from inside it. `reference/` may be deleted where a deployment is only
run; Triton passes over folders whose names are no version numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from adroit import files
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.onnx_file import all_nodes, parse_model
from adroit.deploy.operators.definitions import DOMAIN
from adroit.errors import UnsupportedModel, UsageError
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.routing.cost import check_size

if TYPE_CHECKING:
    import onnx


FORMAT = 1
# The input by which a routed network is held to a budget.
THRESHOLD = "gate_threshold"
# Its second output, [N,paths] in the order of RoutingSpace.paths, 0 where closed.
GATES = "gates"
INFO, MODEL, REFERENCE = "adroit.json", "1/model.onnx", "reference"


def check_name(name: str) -> str:
    """Returns `name`; raises UsageError for one that a repository cannot hold."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise UsageError(f"{name!r} is not a name for a deployment", hint="use 1 to 64 letters, digits, '_' and '-'")
    return name


@dataclass(frozen=True)
class Description:
    """What adroit.json holds.

    Attributes:
        task: "classification" (logits [N,classes]) or "segmentation" (logits [N,classes,H,W]).
        form: "operators" (adroit's, with bodies) or "portable" (standard ones only).
        routing: of a routed network: form (masked, if, static), gate, depth, width, and for a static
            one its route and the route's origin (Route.to_json, Specialization.to_json), and the gates'
            threshold where it is baked in; else None.
        inputs, outputs: the model's; the first input is the image.
        input_size: (height, width) in pixels of a typical input.
        operators: custom operators by name: their version and how many nodes the model has.
        checkpoint: sha256 of reference/model.safetensors, and its source.
        model: file and sha256.
        tools: versions that exported it.
        parity: the last verdict of `adroit check`, or None.
        quantization: of a deployment in 8 bits, how `adroit quantize` made it; else None.
        builds: what `adroit build` made of the model, by version folder; see deploy/build/store.py.
        budget: of a routed network: the table of `adroit budget` (deploy/routing/budget/table.py), or None.
        latency: of a routed network: what its parts take (deploy/routing/latency/table.py), or None.
    """

    format: int
    name: str
    architecture: str
    task: str
    form: str
    routing: Mapping[str, Any] | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    input_size: tuple[int, int]
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    operators: Mapping[str, Mapping[str, int]]
    checkpoint: Mapping[str, Any]
    model: Mapping[str, str]
    tools: Mapping[str, str]
    parity: Mapping[str, Any] | None = None
    quantization: Mapping[str, Any] | None = None
    builds: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    budget: Mapping[str, Any] | None = None
    latency: Mapping[str, Any] | None = None

    def write(self, folder: Path) -> None:
        files.write_json(folder / INFO, dataclasses.asdict(self))


@dataclass(frozen=True)
class Deployment:
    """A deployment that was read; `path` is its folder."""

    path: Path
    info: Description

    @classmethod
    def read(cls, path: Path) -> Deployment:
        """Raises UsageError where `path` is not a deployment of this format."""
        if not (path / INFO).is_file():
            raise UsageError(
                f"{path} is not a deployment: it has no {INFO}",
                hint="give REPOSITORY/NAME, as `adroit export` printed it",
            )
        values = files.read_json(path / INFO, "the deployment's description")
        if values.get("format") != FORMAT:
            raise UsageError(f"{path / INFO} has format {values.get('format')!r}, this adroit reads {FORMAT}")
        try:
            values["preprocessing"] = Preprocessing.from_json(values["preprocessing"])
            values["labels"] = tuple(values["labels"])
            values["input_size"] = tuple(values["input_size"])
            for key in ("inputs", "outputs"):
                values[key] = tuple(TensorSpec(v["name"], v["dtype"], tuple(v["shape"])) for v in values[key])
            info = Description(**values)
            # What later code relies on: reading it here makes a damaged file one error.
            _ = info.inputs[0].name, info.outputs[0].name, info.model["sha256"], info.checkpoint["sha256"]
            _ = {name: int(told["nodes"]) for name, told in info.operators.items()}
            if info.quantization is not None:
                _ = info.quantization["source"]["name"], info.quantization["layers"].keys()
            _ = [(int(version), told["backend"], told["file"], told["sha256"]) for version, told in info.builds.items()]
            return cls(path, info)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise UsageError(f"{path / INFO} is not a deployment's description", facts={"at": error}) from error

    @property
    def model_file(self) -> Path:
        return self.path / MODEL

    @property
    def reference(self) -> Path:
        """The checkpoint folder; raises UsageError where it was deleted."""
        folder = self.path / REFERENCE
        if not folder.is_dir():
            raise UsageError(
                f"{self.path} has no {REFERENCE}/, so there is no PyTorch network to compare with or run",
                hint="export it again from its checkpoint",
            )
        return folder

    @property
    def baked_threshold(self) -> float | None:
        """The gate threshold that the model always has; None where it is an input, or there are no gates."""
        told: float | None = (self.info.routing or {}).get("threshold")
        return told

    def feeds(self, images: NDArray[np.float32], gate_threshold: float = 0.0) -> dict[str, NDArray[np.float32]]:
        """The model's inputs for a batch of preprocessed images, [N,C,H,W].

        Args:
            gate_threshold: of a routed network, for every sample: paths whose gate is not above it are
                closed. 0 is the network as trained.

        Raises:
            UsageError: a threshold for a network that has no gates, or a size that a routed network cannot take.
        """
        if self.info.routing is not None:
            check_size((images.shape[2], images.shape[3]), self.info.routing["gate"])
        names = [spec.name for spec in self.info.inputs]
        if THRESHOLD not in names and gate_threshold != 0.0:
            if self.baked_threshold is not None:
                raise UsageError(f"the gate threshold of {self.info.name} is baked in: {self.baked_threshold:g}")
            raise UsageError(f"{self.info.name} has no gates, so there is no gate threshold to set")
        thresholds = {THRESHOLD: np.full(len(images), gate_threshold, np.float32)} if THRESHOLD in names else {}
        return {names[0]: images, **thresholds}

    def load_model(self) -> onnx.ModelProto:
        """The ONNX model; raises what read_model does."""
        import onnx

        return onnx.load_model_from_string(self.read_model())

    def read_model(self) -> bytes:
        """The ONNX file's content, after checking that it is the one that was exported.

        Raises:
            UsageError: a missing or unreadable file.
            UnsupportedModel: a model without the operators that adroit.json tells of, or changed since.
        """
        try:
            content = self.model_file.read_bytes()
            nodes = [(node.domain, node.op_type) for node in all_nodes(parse_model(content).graph)]
        except (OSError, DecodeError) as error:
            raise UsageError(f"cannot read {self.model_file}", facts={"reason": error}) from error
        for name, expected in self.info.operators.items():
            found = nodes.count((DOMAIN, name))
            if found != expected["nodes"]:
                raise UnsupportedModel(
                    f"{self.model_file} is not the model that adroit exported",
                    facts={"operator": f"{DOMAIN}::{name}", "nodes": found, "expected": expected["nodes"]},
                    hint="export it again with `adroit export`",
                )
        if hashlib.sha256(content).hexdigest() != self.info.model["sha256"]:
            raise UnsupportedModel(
                f"{self.model_file} was changed after its export: its sha256 is not that of {INFO}",
                hint="export it again with `adroit export`",
            )
        return content
