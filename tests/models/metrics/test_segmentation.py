"""Mean intersection over union by hand-counted examples and by its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adroit.errors import UsageError
from adroit.models.metrics.segmentation import ConfusionMatrix


def test_a_hand_counted_example() -> None:
    matrix = ConfusionMatrix(3, ignored=255)
    matrix.add(np.array([[0, 0, 1], [1, 2, 2]]), np.array([[0, 1, 1], [1, 255, 0]], np.uint8))
    np.testing.assert_array_equal(matrix.counts, [[1, 0, 1], [1, 2, 0], [0, 0, 0]])
    np.testing.assert_allclose(matrix.intersection_over_union, [1 / 3, 2 / 3, 0.0])
    assert matrix.mean_intersection_over_union == pytest.approx(1 / 3)


def test_it_is_the_definition_over_all_images_together() -> None:
    random = np.random.default_rng(0)
    predicted, labels = (random.integers(0, 5, (4, 20, 30)) for _ in range(2))
    labels[random.random(labels.shape) < 0.1] = 11
    matrix = ConfusionMatrix(5, ignored=11)
    for one, truth in zip(predicted, labels, strict=True):
        matrix.add(one, truth)
    counted = labels != 11
    expected = [
        (counted & (predicted == c) & (labels == c)).sum() / (counted & ((predicted == c) | (labels == c))).sum()
        for c in range(5)
    ]
    np.testing.assert_allclose(matrix.intersection_over_union, expected)
    assert matrix.mean_intersection_over_union == pytest.approx(np.mean(expected))


def test_classes_that_never_occur_do_not_count() -> None:
    matrix = ConfusionMatrix(4)
    matrix.add(np.array([0, 0, 1]), np.array([0, 0, 1]))
    assert math.isnan(matrix.intersection_over_union[3])
    assert matrix.mean_intersection_over_union == 1.0


def test_nothing_counted_is_not_a_number() -> None:
    matrix = ConfusionMatrix(2, ignored=7)
    matrix.add(np.array([1, 0]), np.array([7, 7]))
    assert math.isnan(matrix.mean_intersection_over_union)


@pytest.mark.parametrize(
    ("predicted", "labels", "message"),
    [
        ([0, 1], [0], "shape"),
        ([0, 2], [0, 1], "predicted classes hold"),
        ([0, -1], [0, 1], "predicted classes hold"),
        ([0, 1], [0, 9], "labels hold"),
    ],
)
def test_wrong_maps_are_refused(predicted: list[int], labels: list[int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ConfusionMatrix(2).add(np.array(predicted), np.array(labels))
