"""What the public functions take: deployments, images and settings of a runtime in the forms that users have them."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName
from adroit.errors import AdroitWarning, UsageError

if TYPE_CHECKING:
    from adroit.deploy.runtimes.options import RuntimeOptions
    from adroit.models.data.images import ImageSet
    from adroit.models.data.tensor_files import TensorSet

PathLike = str | os.PathLike[str]
# Called with how many are done and how many there are.
Progress = Callable[[int, int], None]
# A path (a folder of images, one image, `FILE.npz`, `FILE.npz:PART`), several files, uint8 [N,H,W,3], or an ImageSet.
Images: TypeAlias = "PathLike | Sequence[PathLike] | NDArray[np.uint8] | ImageSet"
# Images; or for a network that takes none, arrays [N,...] by the names of its inputs, or an .npz that holds them.
Data: TypeAlias = "Images | Mapping[str, NDArray[Any]] | TensorSet"


class RuntimeArguments(TypedDict, total=False):
    """How a deployment runs; `RuntimeOptions` in deploy/runtimes/options.py says what each means."""

    runtime: str
    operators: str
    threads: int | None
    providers: Sequence[str] | None
    version: int | None
    cuda_graph: bool
    allow_host_code: bool


def runtime_options(**given: Unpack[RuntimeArguments]) -> RuntimeOptions:
    """Checks the names and fills in the defaults.

    Raises:
        UsageError: a runtime or a form of operators that does not exist.
        TypeError: an argument that does not exist.
    """
    from adroit.deploy.runtimes.options import RuntimeOptions

    values = dict(given)
    for name, kind in (("runtime", RuntimeName), ("operators", OperatorForm)):
        if name in values:
            values[name] = choice(kind, str(values[name]), name)
    if not values.get("providers"):
        values.pop("providers", None)
    return RuntimeOptions(**values)  # type: ignore[arg-type]


Choice = TypeVar("Choice", bound=StrEnum)


def choice(kind: type[Choice], value: str, name: str) -> Choice:
    """Reads one value of an enumeration of strings.

    Raises:
        UsageError: `value` is none of them.
    """
    try:
        return kind(value)
    except ValueError:
        raise UsageError(f"{name} is {', '.join(kind)}, not {value!r}") from None


def read_deployment(deployment: PathLike | Deployment) -> Deployment:
    """Reads a deployment from its path, REPOSITORY/NAME; passes on one that was read before."""
    return deployment if isinstance(deployment, Deployment) else Deployment.read(Path(deployment))


def read_model(model: PathLike | Deployment) -> Deployment:
    """As `read_deployment`; takes a bare ONNX file too, of adroit's or anybody's."""
    return model if isinstance(model, Deployment) else Deployment.read_any(Path(model))


def image_set(images: Images, limit: int | None = None, classes_of: Deployment | None = None) -> ImageSet:
    """Opens images, to be read one at a time.

    Args:
        images: see `Images`.
        limit: use the first so many only.
        classes_of: the network whose classes the folders of images are; they are no classes if None.

    Raises:
        UsageError: nothing there, no image in it, class folders that are no class of the network, or an array that is
            not uint8 [N,H,W,3].
    """
    from adroit.models.data.images import ImageSet, image_files

    if isinstance(images, ImageSet):
        opened = images
    elif isinstance(images, np.ndarray):
        opened = _image_array(images)
    elif isinstance(images, (str, os.PathLike)):
        opened = _read(os.fspath(images), classes_of)
    else:
        opened = image_files([Path(path) for path in images])
    return opened.first(limit)


def _read(path: str, classes_of: Deployment | None) -> ImageSet:
    from adroit.models.data.images import read_images

    if classes_of is None or classes_of.info.task != "classification":
        return read_images(path, grouped=True)
    classes = classes_of.info.outputs[0].shape[1]
    return read_images(path, classes_of.info.labels, classes if isinstance(classes, int) else None)


def data_set(
    deployment: Deployment, data: Data, limit: int | None = None, with_classes: bool = False
) -> ImageSet | TensorSet:
    """Opens data for a deployment: images, or tensors where it takes no images or an .npz holds all its inputs.

    Args:
        data: see `Data`. limit: use the first so many samples only.
        with_classes: folders of images are the deployment's classes.

    Raises:
        UsageError: nothing there, arrays that are not the deployment's inputs, or as `image_set`.
    """
    from adroit.models.data.tensor_files import TensorSet, archive_names, read_tensors, tensor_set

    if isinstance(data, TensorSet):
        return data.first(limit)
    if isinstance(data, Mapping):
        deployment.check_inputs(data)
        return tensor_set(data, "the data").first(limit)
    inputs = [spec.name for spec in deployment.info.inputs]
    path = Path(data) if isinstance(data, (str, os.PathLike)) else None
    if path is not None and (
        deployment.info.preprocessing is None or (path.suffix == ".npz" and set(inputs) <= archive_names(path))
    ):
        return read_tensors(path, inputs).first(limit)
    images = image_set(data, limit, deployment if with_classes else None)
    if with_classes and images.labels is not None and deployment.info.task != "classification":
        warnings.warn(
            f"the class of each image is passed over: {deployment.info.name} tells none", AdroitWarning, stacklevel=2
        )
        return dataclasses.replace(images, labels=None)
    return images


def _image_array(images: NDArray[np.uint8]) -> ImageSet:
    from adroit.models.data.images import ImageSet

    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or len(images) == 0:
        raise UsageError(f"images are uint8 [N,H,W,3] with N >= 1, not {images.dtype} {list(images.shape)}")
    return ImageSet([str(i) for i in range(len(images))], lambda i: images[i])
