"""One class for an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.architectures import Architecture, architecture_named
from models.data.digits import read_digits
from models.data.images import ImageSet, read_images
from models.data.preprocessing import Preprocessing
from models.errors import UsageError
from models.metrics.shift_consistency import Batch, pad_images, shift_consistency
from models.training.augmentation import augmented
from models.training.recipe import DataRecipe, EvaluationRecipe, Recipe

_EVALUATION_BATCH = 256
# All images of a batch have the same two offsets: small batches draw more of them.
_CONSISTENCY_BATCH = 50


class Classification:
    """See Task. All images are preprocessed once and kept in memory.

    Raises:
        UsageError: see `task_of`; also crops of shift consistency that the network cannot take.
    """

    measure = "of the images held out are right"
    ignored: int | None = None

    def __init__(self, recipe: Recipe) -> None:
        architecture = architecture_named(recipe.architecture)
        self._recipe = recipe
        self._training, self._validation = read_data(recipe.data)
        self.labels: Sequence[str] = list(self._training.class_names or ())
        self.preprocessing = _with_size(architecture)
        _check_consistency(recipe.evaluation, architecture)
        classes = int({**architecture.defaults, **recipe.arguments}["classes"])
        self._x, self._y = _tensors(self._training, self.preprocessing, classes)
        self._x_held, self._y_held = _tensors(self._validation, self.preprocessing, classes)
        self.input_size = (self._x.shape[2], self._x.shape[3])

    def __len__(self) -> int:
        return len(self._x)

    def batch(self, picked: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return augmented(self._x[picked], self._recipe.augmentation, generator), self._y[picked]

    def held_out(self) -> Iterator[Tensor]:
        return iter(self._x_held.split(_EVALUATION_BATCH))

    def evaluate(self, network: nn.Module) -> float:
        """Share of the held-out images whose largest logit is their label."""
        network.eval()
        with torch.inference_mode():
            answers = torch.cat([network(part).argmax(1) for part in self.held_out()])
        return float((answers == self._y_held).double().mean())

    def figures(self, network: nn.Module) -> Mapping[str, float]:
        """`shift_consistency` and `shift_accuracy`, in percent, if the recipe asks for them."""
        wanted = self._recipe.evaluation
        if not wanted.shift_consistency:
            return {}
        network.eval()

        def predict(x: Batch) -> NDArray[np.floating]:
            with torch.inference_mode():
                logits: NDArray[np.floating] = network(torch.from_numpy(x)).numpy()
            return logits

        # The square that all crops together cover, cut from the image's centre or made by the margin.
        side = wanted.crop + wanted.max_offset - 1 - 2 * wanted.margin
        larger = replace(self.preprocessing, crop=(side, side))

        def batches() -> Iterator[tuple[Batch, NDArray[np.int64] | None]]:
            for place, x in self._validation.batches(larger, _CONSISTENCY_BATCH):
                yield pad_images(x, wanted.margin), self._y_held[place].numpy()

        result = shift_consistency(predict, batches, (wanted.crop, wanted.crop), wanted.max_offset)
        return {"shift_consistency": result.consistent, "shift_accuracy": result.accuracy or 0.0}


def read_data(data: DataRecipe) -> tuple[ImageSet, ImageSet]:
    """Training and validation images; raises UsageError where the recipe gives none."""
    if data.name == "digits":
        return read_digits()
    if not (data.training and data.validation):
        missing = "training" if not data.training else "validation"
        raise UsageError(
            f"the recipe has no data.{missing}", hint="give --training DATA and --validation DATA, or data.name"
        )
    training = read_images(data.training)
    return training, read_images(data.validation, training.class_names)


def _with_size(architecture: Architecture) -> Preprocessing:
    """Images of any size become the network's own."""
    preprocessing = architecture.preprocessing
    return preprocessing if preprocessing.size else replace(preprocessing, resize=architecture.input_size)


def _check_consistency(evaluation: EvaluationRecipe, architecture: Architecture) -> None:
    if not evaluation.shift_consistency:
        return
    if not architecture.any_size and (evaluation.crop, evaluation.crop) != architecture.input_size:
        raise UsageError(f"evaluation.crop must be {architecture.input_size[0]}, the only size of {architecture.name}")
    if evaluation.crop + evaluation.max_offset - 1 <= 2 * evaluation.margin:
        raise UsageError(f"evaluation.margin of {evaluation.margin} pixels leaves nothing of the image in a crop")


def _tensors(images: ImageSet, preprocessing: Preprocessing, classes: int) -> tuple[Tensor, Tensor]:
    if images.labels is None:
        raise UsageError("images for training and validation need labels: one folder per class, or an .npz with labels")
    low, high = int(images.labels.min()), int(images.labels.max())
    if low < 0 or high >= classes:
        raise UsageError(
            f"the labels are {low} to {high}, and the network has classes 0 to {classes - 1}",
            hint="set arguments.classes in the recipe",
        )
    parts: list[NDArray[np.float32]] = [x for _, x in images.batches(preprocessing, 1024)]
    return torch.from_numpy(np.concatenate(parts)), torch.from_numpy(images.labels)
