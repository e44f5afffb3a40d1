"""Accuracy against labels, of images and of their pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet
from adroit.models.metrics.segmentation import ConfusionMatrix


def check_labels(images: ImageSet, classes: int | str) -> None:
    """Raises UsageError for labels that are no class of a network with `classes` classes."""
    if images.labels is None or not isinstance(classes, int):
        return
    low, high = images.labels.min(), images.labels.max()
    if low < 0 or high >= classes:
        raise UsageError(f"the labels run from {low} to {high}, the network has {classes} classes")


def accuracy(
    images: ImageSet, predictions: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> tuple[float, float] | None:
    """Returns the shares of right predictions, 0 to 1, of deployment and network; None without labels.

    predictions: classes by both, [N], batch by batch.
    """
    if images.labels is None:
        return None
    ours, theirs = (np.concatenate(column) for column in zip(*predictions, strict=True))
    return float((ours == images.labels).mean()), float((theirs == images.labels).mean())


def label_map(images: ImageSet, index: int, size: tuple[int, int], void: int) -> NDArray[np.uint8]:
    """Returns the classes [H,W] of an image of a set with label maps, for predictions of `size` (height, width).

    Void is 255 in most data sets, the number after the last class in others: it becomes `void`.

    Raises:
        UsageError: a map of another size, or as ImageSet.maps.
    """
    assert images.maps is not None
    labels = images.maps(index)
    if labels.shape != size:
        raise UsageError(
            f"the label map of {images.names[index]} is {labels.shape[0]} x {labels.shape[1]} pixels,"
            f" the network's input {size[0]} x {size[1]}"
        )
    return np.where(labels == 255, np.uint8(void), labels)


class Overlap:
    """Mean intersection over union of deployment and network, where there are label maps."""

    def __init__(self, deployment: Deployment, images: ImageSet) -> None:
        classes = deployment.info.outputs[0].shape[1]
        self._images, self._preprocessing = images, deployment.preprocessing
        self._void = classes if isinstance(classes, int) else 0
        self._matrices = [ConfusionMatrix(self._void, self._void) for _ in range(2)]

    def add(self, first: int, predictions: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
        """Adds classes [n,H,W] by deployment and network of the images from `first` on."""
        if self._images.maps is None:
            return
        for offset in range(len(predictions[0])):
            size = self._preprocessing.geometry_size(self._images.size(first + offset))
            labels = label_map(self._images, first + offset, size, self._void)
            for matrix, classes in zip(self._matrices, predictions, strict=True):
                matrix.add(self._preprocessing.unpadded(classes[offset], labels.shape), labels)

    @property
    def means(self) -> tuple[float, float] | None:
        """Mean intersection over union, 0 to 1, of deployment and network; None without label maps."""
        if self._images.maps is None:
            return None
        ours, theirs = (m.mean_intersection_over_union for m in self._matrices)
        return ours, theirs
