"""A deployment on disk, which Triton Inference Server reads as a model of its repository too.

    <repository>/<name>/config.pbtxt        Triton's configuration
    <repository>/<name>/1/model.onnx        the model
    <repository>/<name>/2/model.plan        what `adroit build` made of it, if anything (deploy/build/store.py)
    <repository>/<name>/adroit.json         provenance, preprocessing, labels, parity verdict (Description)
    <repository>/<name>/reference/          the checkpoint that it was made from: what parity is checked against

Nothing executable is loaded from inside it. `reference/` may be deleted where a deployment is only
run; Triton passes over folders whose names are no version numbers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.names import (
    DESCRIPTION_FILE,
    GATE_THRESHOLD_INPUT,
    MODEL_FILE,
    REFERENCE_FOLDER,
)
from adroit.deploy.deployment.reading import read_description
from adroit.deploy.onnx_file import OnnxFile, all_nodes, parse_model
from adroit.deploy.operators.definitions import DOMAIN
from adroit.errors import UnsupportedModel, UsageError
from adroit.models.routing.cost import check_size

if TYPE_CHECKING:
    import onnx

    from adroit.deploy.onnx_file import onnx_file_pb2


@dataclass(frozen=True)
class Deployment:
    """A deployment that was read; `path` is its folder."""

    path: Path
    info: Description

    @classmethod
    def read(cls, path: Path) -> Deployment:
        """Reads the deployment in the folder `path`; raises UsageError as read_description."""
        return cls(path, read_description(path))

    @property
    def model_file(self) -> Path:
        """The path of the exported ONNX file."""
        return self.path / MODEL_FILE

    @property
    def reference(self) -> Path:
        """The checkpoint folder; raises UsageError where it was deleted."""
        folder = self.path / REFERENCE_FOLDER
        if not folder.is_dir():
            raise UsageError(
                f"{self.path} has no {REFERENCE_FOLDER}/, so there is no PyTorch network to compare with or run",
                hint="export it again from its checkpoint",
            )
        return folder

    @property
    def baked_threshold(self) -> float | None:
        """The gate threshold that the model always has; None where it is an input, or there are no gates."""
        return self.info.routing.threshold if self.info.routing else None

    def feeds(self, images: NDArray[np.float32], gate_threshold: float = 0.0) -> dict[str, NDArray[np.float32]]:
        """The model's inputs for a batch of preprocessed images, [N,C,H,W].

        Args:
            gate_threshold: of a routed network, for every sample: paths whose gate is not above it are
                closed. 0 is the network as trained.

        Raises:
            UsageError: a threshold for a network that has no gates, or a size that a routed network cannot take.
        """
        if self.info.routing is not None:
            check_size((images.shape[2], images.shape[3]), self.info.routing.gate)
        names = [spec.name for spec in self.info.inputs]
        if GATE_THRESHOLD_INPUT not in names and gate_threshold != 0.0:
            if self.baked_threshold is not None:
                raise UsageError(f"the gate threshold of {self.info.name} is baked in: {self.baked_threshold:g}")
            raise UsageError(f"{self.info.name} has no gates, so there is no gate threshold to set")
        thresholds = (
            {GATE_THRESHOLD_INPUT: np.full(len(images), gate_threshold, np.float32)}
            if GATE_THRESHOLD_INPUT in names
            else {}
        )
        return {names[0]: images, **thresholds}

    def load_model(self) -> onnx.ModelProto:
        """Reads the model with the package onnx; raises what read_model does."""
        import onnx

        content = self._read_file()
        try:
            model = onnx.load_model_from_string(content)
        except DecodeError as error:
            raise UsageError(f"cannot read {self.model_file}", facts={"reason": error}) from error
        self._check(content, model.graph)
        return model

    def read_model(self) -> OnnxFile:
        """Reads the ONNX file, without the package onnx, and checks that it is the one that was exported.

        Raises:
            UsageError: a missing or unreadable file.
            UnsupportedModel: a model without the operators that adroit.json names, or one that was changed since.
        """
        content = self._read_file()
        try:
            message = parse_model(content)
        except DecodeError as error:
            raise UsageError(f"cannot read {self.model_file}", facts={"reason": error}) from error
        self._check(content, message.graph)
        return OnnxFile(content, message)

    def _read_file(self) -> bytes:
        try:
            return self.model_file.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {self.model_file}", facts={"reason": error}) from error

    def _check(self, content: bytes, graph: onnx.GraphProto | onnx_file_pb2.GraphProto) -> None:
        """Raises UnsupportedModel where the model is not the one that was exported."""
        nodes = Counter((node.domain, node.op_type) for node in all_nodes(graph))
        for name, expected in self.info.operators.items():
            present = nodes[DOMAIN, name]
            if present != expected.nodes:
                raise UnsupportedModel(
                    f"{self.model_file} is not the model that adroit exported",
                    facts={"operator": f"{DOMAIN}::{name}", "nodes": present, "expected": expected.nodes},
                    hint="export it again with `adroit export`",
                )
        if hashlib.sha256(content).hexdigest() != self.info.model.sha256:
            raise UnsupportedModel(
                f"{self.model_file} was changed after its export: its sha256 is not that of {DESCRIPTION_FILE}",
                hint="export it again with `adroit export`",
            )
