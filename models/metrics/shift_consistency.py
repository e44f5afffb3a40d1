"""How often a network keeps its answer when its input moves by some pixels.

Source: arXiv 2008.09604, section 4, as the official code measures it: of every batch two crops of
224 x 224 are taken from images of 256 x 256, at offsets drawn from [0, 32) in each direction, the
same for the whole batch; the measure is the percentage of images whose two answers agree, over
several passes (five in the paper).

Images that are no larger than the network's input, as those of CIFAR, are padded first
(`pad_images`), so that the crops are translations with an empty border, which is what training by
random crops shows the network too. Figures of padded and of cropped images do not compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adroit.errors import UsageError

Batch = NDArray[np.float32]
Predict = Callable[[Batch], NDArray[np.floating]]
Offset = tuple[int, int]

# The paper's: images of 256, crops of 224.
MAX_OFFSET = 32
PASSES = 5


@dataclass(frozen=True)
class ShiftConsistency:
    """Percentages over `comparisons` images, each counted once a pass.

    Attributes:
        consistent: all crops of an image get the same answer.
        correct: the same, among the images that at least one crop gets right; None without labels
            (or where no crop is right).
        accuracy: answers that are right, over all crops; None without labels.
    """

    consistent: float
    correct: float | None
    accuracy: float | None
    comparisons: int


def pad_images(images: Batch, margin: int) -> Batch:
    """[N,C,H,W] with `margin` pixels of 0 (the mean color, after preprocessing) on each side."""
    return np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)))


def shift_consistency(
    predict: Predict,
    batches: Callable[[], Iterable[tuple[Batch, NDArray[np.int64] | None]]],
    crop: tuple[int, int] | None,
    max_offset: int = MAX_OFFSET,
    passes: int = PASSES,
    crops: int = 2,
    seed: int = 0,
) -> ShiftConsistency:
    """Compares the answers to `crops` crops of each image.

    Args:
        predict: preprocessed images [n,C,h,w] float32 to logits [n,classes], by any runtime.
        batches: called once a pass; gives images [n,C,H,W] and their labels [n] (or None). H and W
            are at least crop + max_offset - 1.
        crop: h and w in pixels; None for the largest that a batch's images hold at every offset.
        max_offset: offsets are drawn from [0, max_offset) in each direction.
        passes: how often the data is gone through, with new offsets each time.
        crops: how many crops must agree.
        seed: of the offsets; the same seed and batches give the same offsets.

    Raises:
        UsageError: images too small for the crops, no images, or fewer than two crops.
    """
    if crops < 2 or passes < 1:
        raise UsageError(f"shift consistency needs at least 2 crops and 1 pass, got {crops} and {passes}")
    random = np.random.default_rng(seed)
    agreed = right_once = agreed_and_right = right = total = 0
    labeled = True
    for _ in range(passes):
        for images, labels in batches():
            size = crop or largest_crop(images, max_offset)
            offsets = draw_offsets(random, images, size, max_offset, crops)
            answers = np.stack([predict(cut(images, offset, size)).argmax(1) for offset in offsets])
            same = (answers == answers[0]).all(0)
            total += len(images)
            agreed += int(same.sum())
            if labels is None:
                labeled = False
                continue
            correct = answers == labels
            right += int(correct.sum())
            right_once += int(correct.any(0).sum())
            agreed_and_right += int((same & correct.any(0)).sum())
    if total == 0:
        raise UsageError("shift consistency was given no images")
    return ShiftConsistency(
        consistent=100.0 * agreed / total,
        correct=100.0 * agreed_and_right / right_once if labeled and right_once else None,
        accuracy=100.0 * right / (total * crops) if labeled else None,
        comparisons=total,
    )


def overlap_agreement(
    predict: Predict,
    batches: Callable[[], Iterable[Batch]],
    crop: tuple[int, int] | None,
    max_offset: int = MAX_OFFSET,
    passes: int = PASSES,
    seed: int = 0,
) -> float:
    """Mean percentage of pixels that two crops of an image label alike where they overlap.

    This is our reading of the mASSC of arXiv 2008.09604 (mean average semantic segmentation
    consistency): the authors' code for it is not published, so figures may differ from theirs.

    Args:
        predict: [n,C,h,w] float32 to logits [n,classes,h,w].
        batches, crop, max_offset, passes, seed: as for `shift_consistency`. max_offset is at most
            crop, so that the crops overlap.

    Raises:
        UsageError: images too small for the crops, crops that may not overlap, or no images.
    """
    random = np.random.default_rng(seed)
    shares: list[float] = []
    for _ in range(passes):
        for images in batches():
            size = crop or largest_crop(images, max_offset)
            if max_offset > min(size):
                raise UsageError(
                    f"crops of {size[0]} x {size[1]} pixels moved by up to {max_offset - 1} may not overlap"
                )
            first, second = draw_offsets(random, images, size, max_offset, 2)
            one, other = (predict(cut(images, offset, size)).argmax(1) for offset in (first, second))
            same = _overlap(one, first, second, size) == _overlap(other, second, first, size)
            shares += same.mean((1, 2)).tolist()
    if not shares:
        raise UsageError("overlap agreement was given no images")
    return 100.0 * float(np.mean(shares))


def _overlap(labels: NDArray[np.integer], own: Offset, other: Offset, crop: tuple[int, int]) -> NDArray[np.integer]:
    """The part of [n,h,w] cut at `own` that a crop at `other` shows too."""
    rows, columns = (
        slice(max(0, there - here), size - max(0, here - there))
        for here, there, size in zip(own, other, crop, strict=True)
    )
    return labels[:, rows, columns]


def largest_crop(images: Batch, max_offset: int) -> tuple[int, int]:
    """Height and width of the crops that images [N,C,H,W] hold at every offset below `max_offset`."""
    return images.shape[2] - max_offset + 1, images.shape[3] - max_offset + 1


def draw_offsets(
    random: np.random.Generator, images: Batch, crop: tuple[int, int], max_offset: int, count: int
) -> Sequence[Offset]:
    """`count` offsets (row, column) in [0, max_offset)^2; raises UsageError where a crop could leave the images."""
    height, width = images.shape[2:]
    if max_offset < 1 or min(crop) < 1 or height < crop[0] + max_offset - 1 or width < crop[1] + max_offset - 1:
        raise UsageError(
            f"images of {height} x {width} pixels hold no crops of {crop[0]} x {crop[1]} at offsets below {max_offset}",
            hint="give larger images, a smaller crop or a smaller offset; pad images that are no larger than the crop",
        )
    return [(int(row), int(column)) for row, column in random.integers(0, max_offset, (count, 2))]


def cut(images: Batch, offset: Offset, crop: tuple[int, int]) -> Batch:
    """[n,C,h,w] at `offset`, contiguous."""
    row, column = offset
    return np.ascontiguousarray(images[:, :, row : row + crop[0], column : column + crop[1]])
