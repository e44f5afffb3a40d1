"""A deployment on disk, which Triton Inference Server reads as a model of its repository too.

    <repository>/<name>/config.pbtxt        Triton's configuration
    <repository>/<name>/1/model.onnx        the model
    <repository>/<name>/2/model.plan        what `adroit build` made of it, if anything (deploy/build/store.py)
    <repository>/<name>/adroit.json         provenance, preprocessing, labels, parity verdict (Description)
    <repository>/<name>/reference/          what parity is checked against: the checkpoint that it was made from, or
                                            the stored program of a user's network (deploy/reference)

Nothing executable is loaded from inside it. `reference/` may be deleted where a deployment is only
run; Triton passes over folders whose names are no version numbers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from adroit.deploy.deployment.bare_model import describe_model, is_bare_model
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
from adroit.models.data.images import ImageSet
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.data.tensor_files import TensorSet
from adroit.models.routing.cost import check_size

if TYPE_CHECKING:
    import onnx

    from adroit.deploy.onnx_file import onnx_file_pb2


@dataclass(frozen=True)
class Deployment:
    """A deployment that was read; `path` is its folder, or a bare ONNX file."""

    path: Path
    info: Description

    @classmethod
    def read(cls, path: Path) -> Deployment:
        """Reads the deployment in the folder `path`; raises UsageError as read_description."""
        return cls(path, read_description(path))

    @classmethod
    def read_any(cls, path: Path) -> Deployment:
        """Reads the deployment at `path`, or what can be said of a bare ONNX file; raises as describe_model too."""
        return cls(path, describe_model(path)) if is_bare_model(path) else cls.read(path)

    @property
    def model_file(self) -> Path:
        """The path of the exported ONNX file."""
        return self.path if is_bare_model(self.path) else self.path / MODEL_FILE

    @property
    def reference(self) -> Path:
        """The folder of what `check` compares with; raises UsageError where it was deleted."""
        folder = self.path / REFERENCE_FOLDER
        if not folder.is_dir():
            raise UsageError(
                f"{self.path} has no {REFERENCE_FOLDER}/, so there is no PyTorch network to compare with or run",
                hint="export it again",
            )
        return folder

    @property
    def preprocessing(self) -> Preprocessing:
        """From an image to the first input; raises UsageError for a network whose inputs are no image."""
        if self.info.preprocessing is None:
            raise UsageError(
                f"{self.info.name} takes no images",
                facts={"inputs": "; ".join(map(str, self.info.inputs))},
                hint="give an .npz that holds its inputs by name, one row a sample",
            )
        return self.info.preprocessing

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) in pixels of a typical image; raises as `preprocessing`."""
        self.preprocessing  # noqa: B018  (raises)
        assert self.info.input_size is not None
        return self.info.input_size

    @property
    def any_size(self) -> bool:
        """Whether height and width of the image are free."""
        return all(isinstance(size, str) for size in self.info.inputs[0].shape[2:4])

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

    def batches(
        self, data: ImageSet | TensorSet, size: int, gate_threshold: float = 0.0
    ) -> Iterator[tuple[slice, dict[str, NDArray[Any]]]]:
        """The model's inputs for runs of at most `size` samples, with their range.

        Args:
            data: images, which are preprocessed, or tensors by the names of the inputs.
            gate_threshold: as `feeds`.

        Raises:
            UsageError: images for a network that takes none, tensors of another shape, or as `feeds`.
        """
        if isinstance(data, TensorSet):
            for where, arrays in data.batches(size):
                self.check_inputs(arrays)
                yield where, arrays
        else:
            for where, images in data.batches(self.preprocessing, size):
                yield where, self.feeds(images, gate_threshold)

    def unpadded(
        self, outputs: Mapping[str, NDArray[Any]], feeds: Mapping[str, NDArray[Any]], size: tuple[int, int]
    ) -> dict[str, NDArray[Any]]:
        """Cuts outputs of the input's size, [N,C,H,W], back to what the image fills.

        Args:
            feeds: the model's inputs. size: (height, width) of the image in pixels, before its preprocessing.
        """
        filled = self.preprocessing.geometry_size(size)
        sides = feeds[self.info.inputs[0].name].shape[2:]
        return {
            name: self.preprocessing.unpadded(value, filled) if value.ndim == 4 and value.shape[2:] == sides else value
            for name, value in outputs.items()
        }

    def noise(self, batch: int, size: tuple[int, int] | None = None) -> dict[str, NDArray[Any]]:
        """Inputs of random values: standard normal ones, and 0 or 1 where an input holds integers; gates are open.

        Args:
            batch: how many samples. size: as Description.usual_shape.

        Raises:
            UsageError: a size that the network does not take.
        """
        random = np.random.default_rng(0)
        feeds: dict[str, NDArray[Any]] = {}
        for spec in self.info.inputs:
            shape, dtype = self.info.usual_shape(spec, batch, size if len(spec.shape) == 4 else None), spec.dtype
            if spec.name == GATE_THRESHOLD_INPUT:
                feeds[spec.name] = np.zeros(shape, dtype)
            elif np.dtype(dtype).kind == "f":
                feeds[spec.name] = random.standard_normal(shape).astype(dtype)
            else:
                feeds[spec.name] = random.integers(0, 2, shape).astype(dtype)
        return feeds

    def check_inputs(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raises UsageError where an input is missing, unknown, or of another dtype or shape than the model's."""
        if set(arrays) != {spec.name for spec in self.info.inputs}:
            names = ", ".join(spec.name for spec in self.info.inputs)
            raise UsageError(f"inputs are {names}, got {', '.join(arrays) or 'none'}")
        for spec in self.info.inputs:
            spec.check(arrays[spec.name])

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
