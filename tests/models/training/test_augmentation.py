"""Augmentation moves whole images, and labels with them."""

from __future__ import annotations

import numpy as np
import torch

from adroit.models.training.augmentation import area_crop, augmented, augmented_pair, recolored
from adroit.models.training.tables import AugmentationRecipe


def test_images_are_shifted_and_flipped_whole() -> None:
    image = np.arange(1, 1 + 5 * 5, dtype=np.uint8).reshape(5, 5, 1).repeat(3, axis=2)
    generator = torch.Generator().manual_seed(0)
    centers = set()
    for _ in range(60):
        moved = augmented(image, AugmentationRecipe(shift=1), generator)
        assert moved.shape == image.shape and moved[2, 2, 0] in image
        rows, columns = np.nonzero(moved[..., 0])
        assert (np.diff(moved[..., 0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]) == 1).all()
        centers.add(int(moved[2, 2, 0]))
    assert len(centers) == 9
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


def test_a_part_of_the_area_is_cut_out_and_resized() -> None:
    ramp = np.linspace(0, 255, 64)[None, :, None].repeat(48, axis=0).repeat(3, axis=2).astype(np.uint8)
    generator = torch.Generator().manual_seed(0)
    spans = []
    for _ in range(60):
        x = area_crop(ramp, (0.25, 0.5), (20, 24), generator)
        assert x.shape == (20, 24, 3)
        spans.append((int(x[0, -1, 0]) - int(x[0, 0, 0])) / 255 * 64)
    # Widths of a share s and a ratio r (width / height) are sqrt(s * area * r).
    low, high = (48 * 64 * 0.25 * 3 / 4) ** 0.5, (48 * 64 * 0.5 * 4 / 3) ** 0.5
    assert low - 3 < min(spans) < low + 8 and high - 8 < max(spans) < high + 3
    assert area_crop(ramp[:1], (0.9, 1.0), (4, 4), generator).shape == (4, 4, 3), "no crop fits: the center"


def test_colors_change_by_the_amounts_asked() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[...] = (120, 60, 20)
    generator = torch.Generator().manual_seed(0)

    def means(recipe: AugmentationRecipe) -> np.ndarray:
        return np.array([recolored(image, recipe, generator).mean((0, 1)) for _ in range(40)])

    brighter = means(AugmentationRecipe(brightness=0.5))[:, 0] / 120
    assert 0.5 <= brighter.min() < 0.6 and 1.4 < brighter.max() <= 1.51
    turned = means(AugmentationRecipe(hue=0.5))
    assert (turned.argmax(1) == 2).any() and (turned.argmax(1) == 1).any()
    gray = means(AugmentationRecipe(gray=0.5))
    grays = (gray.max(1) == gray.min(1)).mean()
    assert 0.2 < grays < 0.8 and (gray[gray.max(1) != gray.min(1)] == (120, 60, 20)).all()
    some = means(AugmentationRecipe(saturation=1.0, color_probability=0.5))
    assert 0.2 < (some == (120, 60, 20)).all(1).mean() < 0.8
    np.testing.assert_array_equal(recolored(image, AugmentationRecipe(), generator), image)


def test_images_and_labels_are_scaled_alike() -> None:
    labels = np.zeros((30, 60), np.uint8)
    labels[10:20, 20:40] = 9
    image = np.repeat(labels[..., None] * 20, 3, axis=2)
    generator = torch.Generator().manual_seed(0)
    x, y = augmented_pair(image, labels, AugmentationRecipe(short_sides=(15.0,)), generator)
    assert x.shape == (15, 30, 3) and y.shape == (15, 30) and set(np.unique(y)) == {0, 9}
    sizes = {augmented_pair(image, labels, AugmentationRecipe(scale=(0.5, 2.0)), generator)[1].shape for _ in range(30)}
    assert all(15 <= h <= 60 and abs(w - 2 * h) <= 2 for h, w in sizes) and len(sizes) > 10
    assert (x[y == 9].mean() > 120) and (x[y == 0].mean() < 20)
