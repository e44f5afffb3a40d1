"""Random changes to training images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.data.preprocessing import Image
from models.data.segmentation import LabelMap
from models.training.recipe import AugmentationRecipe


def augmented(x: Tensor, recipe: AugmentationRecipe, generator: torch.Generator) -> Tensor:
    """[N,C,H,W], each image shifted by its own offset and flipped or not."""
    if recipe.shift:
        size = recipe.shift
        padded = nn.functional.pad(x, [size] * 4)
        offsets = torch.randint(0, 2 * size + 1, (len(x), 2), generator=generator).tolist()
        height, width = x.shape[2:]
        x = torch.stack(
            [p[:, top : top + height, left : left + width] for p, (top, left) in zip(padded, offsets, strict=True)]
        )
    if recipe.flip:
        flipped = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(flipped[:, None, None, None], x.flip(3), x)
    return x


def augmented_pair(
    image: Image, labels: LabelMap, recipe: AugmentationRecipe, generator: torch.Generator
) -> tuple[Image, LabelMap]:
    """[H,W,3] and [H,W] uint8, cut at one random place (no larger than the image) and flipped together."""
    if recipe.crop is not None:
        slacks = [max(0, have - want) for have, want in zip(labels.shape, recipe.crop, strict=True)]
        top, left = (int(torch.randint(0, slack + 1, (), generator=generator)) for slack in slacks)
        height, width = recipe.crop
        image, labels = image[top : top + height, left : left + width], labels[top : top + height, left : left + width]
    if recipe.flip and float(torch.rand((), generator=generator)) < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(labels)
