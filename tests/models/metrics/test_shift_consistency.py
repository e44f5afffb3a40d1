"""Shift consistency and overlap agreement, on predictors whose answers are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from adroit.errors import UsageError
from adroit.models.metrics.shift_consistency import (
    Batch,
    cut,
    draw_offsets,
    overlap_agreement,
    pad_images,
    shift_consistency,
)

LABELS = np.array([0, 1, 0, 1], np.int64)


def ramp(size: int = 16) -> Batch:
    """Four images whose pixel (r, c) is 100 r + c, in channel 0; channel 1 holds the image's index."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    images = np.zeros((4, 2, size, size), np.float32)
    images[:, 0] = 100 * rows + columns
    images[:, 1] = np.arange(4)[:, None, None]
    return images


def batches(images: Batch) -> Callable[[], Iterator[tuple[Batch, np.ndarray | None]]]:
    return lambda: iter([(images[:3], LABELS[:3]), (images[3:], LABELS[3:])])


def one_hot(classes: np.ndarray) -> np.ndarray:
    return np.eye(2)[classes.astype(int)]


def test_a_predictor_that_ignores_position_is_wholly_consistent() -> None:
    result = shift_consistency(lambda x: one_hot(x[:, 1, 0, 0] % 2), batches(ramp()), (9, 9), 8)
    assert (result.consistent, result.correct, result.accuracy) == (100.0, 100.0, 100.0)
    assert result.comparisons == 5 * 4


def test_consistency_is_the_share_of_equal_answers() -> None:
    """The predictor answers by the parity of the crop's row: compared with the offsets themselves."""
    images = ramp()
    offsets: list[int] = []

    def predict(x: Batch) -> np.ndarray:
        row = x[:, 0, 0, 0] // 100
        offsets.append(int(row[0]))
        return one_hot(row % 2)

    result = shift_consistency(predict, batches(images), (9, 9), 8, passes=3)
    pairs = [(offsets[i] % 2, offsets[i + 1] % 2) for i in range(0, len(offsets), 2)]
    sizes = [3, 1] * 3
    agreed = sum(n for n, (a, b) in zip(sizes, pairs, strict=True) if a == b)
    assert 0 < agreed < 12
    assert result.consistent == pytest.approx(100 * agreed / 12)
    hits = [(LABELS[:3], p) if i % 2 == 0 else (LABELS[3:], p) for i, p in enumerate(pairs)]
    once = sum(int(((labels == a) | (labels == b)).sum()) for labels, (a, b) in hits)
    both = sum(int(((labels == a) & (labels == b)).sum()) for labels, (a, b) in hits)
    assert result.correct == pytest.approx(100 * both / once)


def test_more_crops_must_all_agree() -> None:
    def predict(x: Batch) -> np.ndarray:
        return one_hot(x[:, 0, 0, 0] // 100 % 2)

    shares = [shift_consistency(predict, batches(ramp()), (9, 9), 8, 50, crops).consistent for crops in (2, 3, 5)]
    assert shares[0] > shares[1] > shares[2]


def test_the_same_seed_draws_the_same_offsets() -> None:
    def predict(x: Batch) -> np.ndarray:
        return one_hot(x[:, 0, 0, 0] % 2)

    first, again, other = (shift_consistency(predict, batches(ramp()), (9, 9), 8, seed=s) for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_offsets_cover_the_range_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    drawn = {o for _ in range(400) for o in draw_offsets(random, ramp(16), (13, 13), 4, 2)}
    assert drawn == {(r, c) for r in range(4) for c in range(4)}


def test_without_labels_only_consistency_is_told() -> None:
    result = shift_consistency(lambda x: one_hot(x[:, 1, 0, 0] % 2), lambda: [(ramp(), None)], (9, 9), 8)
    assert result.consistent == 100.0
    assert result.correct is None and result.accuracy is None


def test_padded_images_hold_crops_of_their_own_size() -> None:
    padded = pad_images(ramp(8), 3)
    assert padded.shape == (4, 2, 14, 14)
    np.testing.assert_array_equal(cut(padded, (3, 3), (8, 8)), ramp(8))
    shift_consistency(lambda x: one_hot(x[:, 1, 4, 4] % 2), lambda: [(padded, LABELS)], (8, 8), 7)


@pytest.mark.parametrize(("crop", "max_offset"), [((16, 16), 2), ((9, 16), 2), ((9, 9), 9), ((4, 4), 0)])
def test_crops_that_leave_the_image_are_refused(crop: tuple[int, int], max_offset: int) -> None:
    with pytest.raises(UsageError, match="hold no crops"):
        shift_consistency(lambda x: one_hot(x[:, 1, 0, 0]), batches(ramp()), crop, max_offset)


def test_no_images_and_single_crops_are_refused() -> None:
    with pytest.raises(UsageError, match="no images"):
        shift_consistency(lambda x: x, list, (4, 4), 2)
    with pytest.raises(UsageError, match="at least 2 crops"):
        shift_consistency(lambda x: x, batches(ramp()), (4, 4), 2, crops=1)


def by_pixel(x: Batch) -> np.ndarray:
    """Labels a pixel by its own value: equivariant."""
    return np.stack([x[:, 0] % 2, 1 - x[:, 0] % 2], 1)


def by_place(x: Batch) -> np.ndarray:
    """Labels a pixel by its row in the crop, whatever it shows."""
    rows = np.broadcast_to(np.arange(x.shape[2])[None, :, None] % 2, x[:, 0].shape)
    return np.stack([rows, 1 - rows], 1)


def test_overlaps_agree_where_labels_follow_the_image() -> None:
    assert overlap_agreement(by_pixel, lambda: [ramp(), ramp()], (9, 9), 8) == 100.0
    # By place, rows agree wholly when the crops' rows differ by an even number, else not at all.
    share = overlap_agreement(by_place, lambda: [ramp()], (9, 9), 8, passes=200)
    assert 35.0 < share < 65.0


def test_crops_that_may_not_overlap_are_refused() -> None:
    with pytest.raises(UsageError, match="may not overlap"):
        overlap_agreement(by_pixel, lambda: [ramp()], (4, 4), 8)
    with pytest.raises(UsageError, match="no images"):
        overlap_agreement(by_pixel, list, (9, 9), 8)


def test_without_a_size_crops_are_as_large_as_the_offsets_leave() -> None:
    sizes = set()

    def predict(x: Batch) -> np.ndarray:
        sizes.add(x.shape[2:])
        return one_hot(x[:, 0, 0, 0] % 2)

    free, fixed = (shift_consistency(predict, batches(ramp()), crop, 8) for crop in (None, (9, 9)))
    assert free == fixed
    assert sizes == {(9, 9)}
    with pytest.raises(UsageError, match="hold no crops"):
        shift_consistency(predict, batches(ramp()), None, 17)
