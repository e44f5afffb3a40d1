"""Augmentation moves whole images, and labels with them."""

from __future__ import annotations

import numpy as np
import torch

from models.training.augmentation import augmented, augmented_pair
from models.training.tables import AugmentationRecipe


def test_images_are_shifted_and_flipped_whole() -> None:
    image = np.arange(1, 1 + 5 * 5, dtype=np.uint8).reshape(5, 5, 1).repeat(3, axis=2)
    generator = torch.Generator().manual_seed(0)
    centres = set()
    for _ in range(60):
        moved = augmented(image, AugmentationRecipe(shift=1), generator)
        assert moved.shape == image.shape and moved[2, 2, 0] in image
        rows, columns = np.nonzero(moved[..., 0])
        assert (np.diff(moved[..., 0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]) == 1).all()
        centres.add(int(moved[2, 2, 0]))
    assert len(centres) == 9
    flipped = [augmented(image, AugmentationRecipe(flip=True), generator) for _ in range(30)]
    kinds = [next(i for i, x in enumerate((image, image[:, ::-1])) if np.array_equal(x, f)) for f in flipped]
    assert 5 < sum(kinds) < 25


def test_labels_stay_on_their_pixels() -> None:
    labels = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
    image = np.stack([labels] * 3, axis=2)
    generator = torch.Generator().manual_seed(0)
    places, orders = set(), set()
    for _ in range(30):
        x, y = augmented_pair(image, labels, AugmentationRecipe(crop=(5, 8), flip=True), generator)
        assert x.shape == (5, 8, 3) and y.shape == (5, 8)
        np.testing.assert_array_equal(x, np.stack([y] * 3, axis=2))
        places.add(int(y.min()))
        orders.add(int(y[0, 1]) - int(y[0, 0]))
    assert len(places) > 5 and orders == {1, -1}


def test_a_crop_larger_than_the_image_is_the_image() -> None:
    labels = np.zeros((4, 6), np.uint8)
    image = np.zeros((4, 6, 3), np.uint8)
    x, y = augmented_pair(image, labels, AugmentationRecipe(crop=(8, 5)), torch.Generator())
    assert x.shape == (4, 5, 3) and y.shape == (4, 5)
