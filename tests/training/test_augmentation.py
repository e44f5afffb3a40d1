"""Augmentation moves whole images, and labels with them."""

from __future__ import annotations

import numpy as np
import torch

from models.training.augmentation import augmented, augmented_pair
from models.training.recipe import AugmentationRecipe


def test_images_are_shifted_and_flipped_whole() -> None:
    x = torch.arange(2 * 3 * 5 * 5, dtype=torch.float32).reshape(2, 3, 5, 5) + 1
    moved = augmented(x, AugmentationRecipe(shift=2), torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    for image, original in zip(moved, x, strict=True):
        kept = set(image.unique().tolist()) - {0.0}
        assert kept <= set(original.unique().tolist())
    flipped = augmented(x, AugmentationRecipe(flip=True), torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(flipped, x, strict=True))


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
