"""A deployment that is loaded and ready to run. PyTorch is needed for the runtime "torch" alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from adroit import files
from adroit.api.arguments import (
    Data,
    Images,
    PathLike,
    Progress,
    RuntimeArguments,
    data_set,
    read_model,
    runtime_options,
)
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.predictions import ClassShare, Prediction, class_shares, top_k
from adroit.deploy.parity.finite import check_finite
from adroit.deploy.runtimes.open import open_runtime
from adroit.errors import UnsupportedModel, UsageError
from adroit.models.data.images import ImageSet
from adroit.models.data.palette import palette_png

if TYPE_CHECKING:
    from adroit.deploy.deployment.tensors import TensorSpec
    from adroit.deploy.runtimes.runtime import Runtime
    from adroit.models.networks.architectures import Task


@dataclass(frozen=True)
class RunResult:
    """The outputs of a deployment for images, or for other samples.

    Attributes:
        names: of the samples.
        batches: each output by name, [n,...] for each batch of samples of one size; maps have the image's size after
            resize and crop, without the padding that the network needs.
        labels: names of the classes; may be empty.
        task: what the first output means; see `adroit.list_tasks`.
    """

    names: Sequence[str]
    batches: Mapping[str, Sequence[NDArray[Any]]]
    labels: Sequence[str]
    task: Task

    @property
    def outputs(self) -> dict[str, NDArray[Any]]:
        """Each output by name as one array, [N,...].

        Raises:
            UsageError: images of several sizes gave outputs of several sizes.
        """
        try:
            return {name: np.concatenate(values) for name, values in self.batches.items()}
        except ValueError as error:
            raise UsageError(
                "the images give outputs of different sizes, which one array cannot hold",
                hint="run images of one size together, or use --top",
            ) from error

    def top(self, count: int = 1) -> list[list[Prediction]]:
        """Finds the most probable classes of each image, the most probable first.

        Raises:
            UnsupportedModel: the network tells no class of an image.
        """
        if self.task != "classification":
            raise UnsupportedModel("this network tells no class of an image", hint="take its outputs, with --output")
        return top_k(np.concatenate(self._logits), self.labels, count)

    def class_maps(self) -> list[NDArray[np.integer]]:
        """Finds the class of every pixel of each image, [H,W]: uint8, or int64 where there are more than 256 classes.

        Raises:
            UnsupportedModel: the network tells no classes of pixels.
        """
        if self.task != "segmentation":
            raise UnsupportedModel("this network tells no classes of pixels", hint="take its outputs, with --output")
        kind = np.uint8 if self._logits[0].shape[1] <= 256 else np.int64
        return [logits.argmax(0).astype(kind) for batch in self._logits for logits in batch]

    def shares(self) -> list[list[ClassShare]]:
        """Finds the classes that each segmented image has, with their shares of its pixels, the largest first.

        Raises:
            UnsupportedModel: as `class_maps`.
        """
        return [class_shares(classes, self.labels) for classes in self.class_maps()]

    @property
    def _logits(self) -> Sequence[NDArray[Any]]:
        return next(iter(self.batches.values()))

    def save(self, path: PathLike) -> None:
        """Writes the outputs and `names` as an .npz, or the class map of one image as a .png with a color a class.

        Raises:
            UsageError: a path that cannot be written, a .png of several images, or as `outputs`.
            UnsupportedModel: a .png of a network that tells no classes of pixels. OutOfResource: the disk is full.
        """
        if Path(path).suffix.lower() == ".png":
            self._save_map(Path(path))
            return
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, names=np.array(self.names), **self.outputs)
        files.write_bytes(Path(path), buffer.getvalue())

    def _save_map(self, path: Path) -> None:
        maps = self.class_maps()
        if len(maps) != 1:
            raise UsageError(
                f"{path} holds the classes of one image, and these are {len(maps)}",
                hint="give one image, --images 1, or an .npz",
            )
        if maps[0].dtype != np.uint8:
            raise UsageError(f"{path} holds 256 classes at most, and the network has more", hint="give an .npz")
        files.write_bytes(path, palette_png(maps[0].astype(np.uint8)))


class OpenDeployment:
    """A loaded deployment. Use it as a context manager, or call `close`.

    Attributes:
        deployment: what was read from disk. `deployment.info` is its description.
        inputs, outputs: names, dtypes and shapes of the tensors of `run`.
    """

    def __init__(self, deployment: Deployment, runtime: Runtime) -> None:
        self.deployment, self._runtime = deployment, runtime
        self.inputs: tuple[TensorSpec, ...] = runtime.inputs
        self.outputs: tuple[TensorSpec, ...] = runtime.outputs

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Computes all outputs by name from inputs by name, as `inputs` describes them; images are preprocessed.

        A gate threshold that is left out is 0, the network as trained.

        Raises:
            UsageError: an input that is missing, unknown, or of another dtype or shape.
        """
        feeds = dict(inputs)
        image = self.inputs[0].name
        for spec in self.inputs[1:]:
            if spec.name not in feeds and image in feeds and len(spec.shape) == 1:
                feeds[spec.name] = np.zeros(len(feeds[image]), spec.dtype)
        return self._runtime.run(feeds)

    def run_data(
        self,
        data: Data,
        *,
        limit: int | None = None,
        batch: int = 16,
        gate_threshold: float = 0.0,
        progress: Progress | None = None,
    ) -> RunResult:
        """Runs images, which it preprocesses, or arrays by the names of the inputs.

        Args:
            data: what to run. limit: use the first so many samples only.
            batch: samples of one size that run together at most.
            gate_threshold: of a network with gates: paths whose gate is not above it are closed.
            progress: called with samples done and samples in all.

        Raises:
            UsageError: data that cannot be read, or a threshold for a network without gates.
            UnsupportedModel: logits that are not finite; the layer is named where that begins.
        """
        info = self.deployment.info
        opened = data_set(self.deployment, data, limit)
        batches: dict[str, list[NDArray[Any]]] = {spec.name: [] for spec in info.outputs}
        for where, feeds in self.deployment.batches(opened, batch, gate_threshold):
            values = self._runtime.run(feeds)
            check_finite(self.deployment, values, feeds, opened.names[where])
            if isinstance(opened, ImageSet):
                values = self.deployment.unpadded(values, feeds, opened.size(where.start))
            for name, value in values.items():
                batches[name].append(value)
            if progress is not None:
                progress(where.stop, len(opened))
        return RunResult(opened.names, batches, info.labels, info.task)

    def predict(self, image: PathLike | NDArray[np.uint8], top: int = 5) -> list[Prediction]:
        """Finds the most probable classes of one image, the most probable first.

        Args:
            image: an image file, or uint8 [H,W,3] RGB.

        Raises:
            UsageError: an image that cannot be read. UnsupportedModel: the network tells no class of an image.
        """
        images: Images = image[None] if isinstance(image, np.ndarray) else [image]
        return self.run_data(images).top(top)[0]

    def close(self) -> None:
        """Frees what the deployment holds; it cannot run afterwards."""
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open(deployment: PathLike | Deployment, **runtime: Unpack[RuntimeArguments]) -> OpenDeployment:
    """Loads a deployment, to run it many times.

    Args:
        deployment: a deployment, its path REPOSITORY/NAME, or an ONNX file of adroit's or anybody's.
        runtime: what runs it, ONNX Runtime with native kernels if not given; see RuntimeArguments.

    Raises:
        UsageError: not a deployment, or more threads than make sense here.
        EnvironmentFault: the runtime, a provider or the native library is not there.
        UnsupportedModel: the model is not the exported one.

    >>> with adroit.open("repository/mine") as net:
    ...     best = net.predict("photos/0.png", top=2)
    ...     outputs = net.run({"image": np.zeros((1, 3, 32, 32), np.float32)})
    >>> len(best), best[0].probability >= best[1].probability
    (2, True)
    >>> outputs["logits"].shape
    (1, 10)
    """
    read = read_model(deployment)
    return OpenDeployment(read, open_runtime(read, runtime_options(**runtime)))


def run(
    deployment: PathLike | Deployment,
    images: Data,
    *,
    output: PathLike | None = None,
    limit: int | None = None,
    batch: int = 16,
    gate_threshold: float = 0.0,
    gflops: float | None = None,
    progress: Progress | None = None,
    **runtime: Unpack[RuntimeArguments],
) -> RunResult:
    """Opens a deployment, runs it on images or on arrays by the names of its inputs, and closes it.

    Args:
        deployment: a deployment, its path REPOSITORY/NAME, or an ONNX file of adroit's or anybody's.
        images: what to run: images, arrays by name, or an .npz of them. limit: use the first so many samples only.
        output: an .npz to write the outputs to, or a .png for the classes of one image's pixels; see RunResult.save.
        batch: samples of one size that run together at most.
        gate_threshold: of a network with gates: paths whose gate is not above it are closed.
        gflops: hold the mean image to so many operations / 1e9 instead, by the table of `budget`.
        progress: called with samples done and samples in all.
        runtime: what runs the deployment; see RuntimeArguments.

    Raises:
        UsageError: data or a deployment that cannot be read, an output that cannot be written.
        EnvironmentFault, UnsupportedModel: as `open`.

    >>> result = adroit.run("repository/mine", "photos", limit=3)
    >>> result.outputs["logits"].shape, len(result.top(2))
    ((3, 10), 3)
    """
    from adroit.deploy.routing.budget.table import requested_threshold

    read = read_model(deployment)
    threshold = requested_threshold(read, gate_threshold, gflops)
    if output is not None:
        files.check_writable(Path(output))
    opened = data_set(read, images, limit)
    with open(read, **runtime) as net:
        result = net.run_data(opened, batch=batch, gate_threshold=threshold, progress=progress)
    if output is not None:
        result.save(output)
    return result
