"""Random changes to training images: uint8 in and out, each from its own generator.

Magnitudes are the recipe's; how they are drawn is as torchvision does it, which the papers' codes use, but
for the order of the color changes: brightness, contrast, saturation, hue, always.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageEnhance

from adroit.models.data.preprocessing import Image, resized
from adroit.models.data.segmentation import LabelMap
from adroit.models.training.tables import AugmentationRecipe

# Of the area's crop: width / height is drawn from here, evenly on a logarithmic scale.
ASPECT_RATIOS = (3 / 4, 4 / 3)


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """One number from [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def integer(generator: torch.Generator, below: int) -> int:
    """One of 0 to below - 1."""
    return int(torch.randint(0, below, (), generator=generator))


def area_crop(image: Image, area: tuple[float, ...], size: tuple[int, int], generator: torch.Generator) -> Image:
    """A part of [H,W,3], of a share of the area drawn from `area`, resized to `size` (bilinear)."""
    height, width = image.shape[:2]
    for _ in range(10):
        target = height * width * uniform(generator, area[0], area[1])
        ratio = math.exp(uniform(generator, *map(math.log, ASPECT_RATIOS)))
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = integer(generator, height - h + 1), integer(generator, width - w + 1)
            break
    else:  # as torchvision: the center, as large as the ratios allow
        w = min(width, round(height * ASPECT_RATIOS[1]))
        h = min(height, round(width / ASPECT_RATIOS[0]))
        top, left = (height - h) // 2, (width - w) // 2
    return resized(image[top : top + h, left : left + w], size)


def augmented(image: Image, recipe: AugmentationRecipe, generator: torch.Generator) -> Image:
    """[H,W,3], already of the input's size: shifted, flipped, its colors changed."""
    if recipe.shift:
        height, width = image.shape[:2]
        top, left = (integer(generator, 2 * recipe.shift + 1) for _ in range(2))
        padded = np.pad(image, [(recipe.shift,) * 2, (recipe.shift,) * 2, (0, 0)])
        image = padded[top : top + height, left : left + width]
    if recipe.flip and integer(generator, 2):
        image = image[:, ::-1]
    return np.ascontiguousarray(recolored(image, recipe, generator))


def augmented_pair(
    image: Image, labels: LabelMap, recipe: AugmentationRecipe, generator: torch.Generator
) -> tuple[Image, LabelMap]:
    """[H,W,3] and [H,W]: resized and cut at one random place (no larger than the image), flipped together."""
    image, labels = _rescaled(image, labels, recipe, generator)
    if recipe.crop is not None:
        slacks = [max(0, have - want) for have, want in zip(labels.shape, recipe.crop, strict=True)]
        top, left = (integer(generator, slack + 1) for slack in slacks)
        height, width = recipe.crop
        image, labels = image[top : top + height, left : left + width], labels[top : top + height, left : left + width]
    if recipe.flip and integer(generator, 2):
        image, labels = image[:, ::-1], labels[:, ::-1]
    return np.ascontiguousarray(recolored(image, recipe, generator)), np.ascontiguousarray(labels)


def _rescaled(
    image: Image, labels: LabelMap, recipe: AugmentationRecipe, generator: torch.Generator
) -> tuple[Image, LabelMap]:
    height, width = labels.shape
    if recipe.short_sides:
        factor = recipe.short_sides[integer(generator, len(recipe.short_sides))] / min(height, width)
    elif recipe.scale:
        factor = uniform(generator, recipe.scale[0], recipe.scale[1])
    else:
        return image, labels
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return resized(image, size), resized(labels, size, nearest=True)


def recolored(image: Image, recipe: AugmentationRecipe, generator: torch.Generator) -> Image:
    """[H,W,3] with other brightness, contrast, saturation and hue, or none of its colors."""
    amounts = (recipe.brightness, recipe.contrast, recipe.saturation)
    if (any(amounts) or recipe.hue) and uniform(generator, 0, 1) < recipe.color_probability:
        pixels = Pillow.fromarray(np.ascontiguousarray(image))
        changes = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for change, amount in zip(changes, amounts, strict=True):
            if amount:
                pixels = change(pixels).enhance(uniform(generator, 1.0 - amount, 1.0 + amount))
        image = np.asarray(pixels)
        if recipe.hue:
            image = _turned(image, uniform(generator, -recipe.hue, recipe.hue))
    if recipe.gray and uniform(generator, 0, 1) < recipe.gray:
        image = np.repeat(np.asarray(Pillow.fromarray(np.ascontiguousarray(image)).convert("L"))[..., None], 3, axis=2)
    return image


def _turned(image: Image, share: float) -> Image:
    """The hue turned by a share of the circle."""
    hsv = np.array(Pillow.fromarray(image).convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(np.int64) + round(share * 255)) % 256
    return np.asarray(Pillow.fromarray(hsv, "HSV").convert("RGB"))
