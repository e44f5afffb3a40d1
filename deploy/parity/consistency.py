"""Shift consistency: how often a deployment, and its network, predict the same when the image moves by some pixels.

Both see the same crops. Where preprocessing fixes the input's size, crops are of that size, cut from
the image before its own crop (the paper's 224 of 256), and an image that is too small gets a border
of zeros. Where the size is free, crops are as large as the shifts leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet
from adroit.models.data.preprocessing import Image, Preprocessing, center_crop
from adroit.models.metrics.shift_consistency import PASSES, Batch, Predict, overlap_agreement, shift_consistency

# All images of a batch have the same two offsets: small batches draw more of them.
BATCH = {"classification": 50, "segmentation": 2}


@dataclass(frozen=True)
class ConsistencyReport:
    """Percentages, deployment first and PyTorch second.

    Attributes:
        measure: "shift consistency": images of which two crops get the same class; or, for
            segmentation, "overlap agreement": pixels that two crops of an image label alike.
        pixels: offsets are drawn from [0, pixels) in each direction. passes: times over the images.
        padding: maximum of rows or columns of zeros that an image got: figures with and without do not compare.
        consistent: the measure.
        correct: consistency among the images that at least one crop gets right, where labels are given.
    """

    measure: str
    pixels: int
    passes: int
    padding: int
    consistent: tuple[float, float]
    correct: tuple[float, float] | None = None


def compare_consistency(
    deployment: Deployment, images: ImageSet, ours: Predict, theirs: Predict, pixels: int, passes: int = PASSES
) -> ConsistencyReport:
    """Measures deployment and network on the same crops.

    Args:
        ours, theirs: preprocessed images to logits, by the deployment and by PyTorch.
        pixels: offsets are drawn from [0, pixels).

    Raises:
        UsageError: images too small, or unreadable.
    """
    moved = _MovedImages(deployment, images, pixels)
    if deployment.info.task == "segmentation":
        shares = [
            overlap_agreement(predict, lambda: (x for x, _ in moved), moved.crop, pixels, passes)
            for predict in (ours, theirs)
        ]
        return ConsistencyReport("overlap agreement", pixels, passes, moved.padding, (shares[0], shares[1]))
    first, second = (shift_consistency(p, lambda: iter(moved), moved.crop, pixels, passes) for p in (ours, theirs))
    correct = None if first.correct is None or second.correct is None else (first.correct, second.correct)
    consistent = (first.consistent, second.consistent)
    return ConsistencyReport("shift consistency", pixels, passes, moved.padding, consistent, correct)


class _MovedImages:
    """Batches of preprocessed images that hold the crops, with their labels.

    Attributes:
        crop: height and width where fixed. padding: see ConsistencyReport; known after a pass.
    """

    def __init__(self, deployment: Deployment, images: ImageSet, pixels: int) -> None:
        self._images, self._pixels, self._batch = images, pixels, BATCH[deployment.info.task]
        self._preprocessing: Preprocessing = deployment.preprocessing
        sides = deployment.info.inputs[0].shape[2:]
        fixed = (sides[0], sides[1]) if isinstance(sides[0], int) and isinstance(sides[1], int) else None
        self.crop: tuple[int, int] | None = self._preprocessing.size or fixed
        self._uncut = replace(self._preprocessing, crop=None)
        if fixed is None and self._preprocessing.crop == (self._preprocessing.resize,) * 2:
            # The crop is all of the image, as of CIFAR: shifts take smaller ones from inside.
            self.crop, self._uncut = None, self._preprocessing
        self.padding = 0

    def __iter__(self) -> Iterator[tuple[Batch, NDArray[np.int64] | None]]:
        labels = self._images.labels
        plain = replace(self._preprocessing, resize=None, crop=None, pad_multiple=1)
        uncut = ImageSet(self._images.names, self._load)
        for where, x in uncut.batches(plain, self._batch):
            yield self._padded(x), None if labels is None else labels[where]

    def _load(self, index: int) -> Image:
        """Loads an image before its own crop, no larger than the area that the crops cover together."""
        image = self._uncut.geometry(self._images.load(index))
        sides, more = image.shape[:2], self._pixels - 1
        if self.crop:
            wanted = [min(side, crop + more) for side, crop in zip(sides, self.crop, strict=True)]
        else:
            multiple = self._preprocessing.pad_multiple
            wanted = [(side - more) // multiple * multiple + more for side in sides]
        if min(wanted) <= more and not self.crop:
            raise UsageError(
                f"{self._images.names[index]} ({sides[0]} x {sides[1]} pixels)"
                f" is too small to be moved by {more} pixels",
                hint="measure smaller shifts, or give larger images",
            )
        return center_crop(image, (wanted[0], wanted[1]))

    def _padded(self, x: Batch) -> Batch:
        if not self.crop:
            return x
        missing = [crop + self._pixels - 1 - side for crop, side in zip(self.crop, x.shape[2:], strict=True)]
        self.padding = max(self.padding, *missing)
        return np.pad(x, ((0, 0), (0, 0), *((m // 2, m - m // 2) for m in missing)))
