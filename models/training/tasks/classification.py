"""One class for an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.data.digits import read_digits
from adroit.models.data.imagenet import read_imagenet
from adroit.models.data.images import ImageSet, read_images
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.metrics.shift_consistency import Batch, pad_images, shift_consistency
from adroit.models.networks.architectures import Architecture, architecture_named
from adroit.models.training.augmentation import area_crop, augmented
from adroit.models.training.tables import DataRecipe, EvaluationRecipe, Recipe
from adroit.models.training.tasks import device_of

_EVALUATION_BATCH = 256
# All images of a batch have the same two offsets: small batches draw more of them.
_CONSISTENCY_BATCH = 50


class Classification:
    """See Task. Images are read and preprocessed when they are needed.

    Raises:
        UsageError: see `task_of`; also crops of shift consistency that the network cannot take.
    """

    measure = "of the images held out are right"
    ignored: int | None = None
    views = 1

    def __init__(self, recipe: Recipe) -> None:
        architecture = architecture_named(recipe.architecture)
        self._recipe = recipe
        self._training, self._validation = read_data(recipe.data)
        self.labels: Sequence[str] = list(self._training.class_names or ())
        self.preprocessing = _with_size(architecture)
        _check_consistency(recipe.evaluation, architecture)
        self._y, self._y_held = _labels(self._training), _labels(self._validation)
        assert self.preprocessing.size is not None
        self.input_size = self.preprocessing.size

    def __len__(self) -> int:
        return len(self._training)

    def check_classes(self, classes: int) -> None:
        """Raises UsageError where labels or class names do not fit a network of `classes`."""
        for y in (self._y, self._y_held):
            low, high = int(y.min()), int(y.max())
            if low < 0 or high >= classes:
                raise UsageError(
                    f"the labels are {low} to {high}, and the network has classes 0 to {classes - 1}",
                    hint="set arguments.classes in the recipe",
                )
        if self.labels and len(self.labels) != classes:
            raise UsageError(
                f"the data has {len(self.labels)} classes, and the network {classes}",
                hint=f"set classes = {len(self.labels)} in the recipe's [arguments]",
            )

    def sample(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns an augmented image [C,H,W] and its label; see Task.sample."""
        image, settings = self._training.load(index), self._recipe.augmentation
        if settings.crop_area:
            image = area_crop(image, settings.crop_area, self.input_size, generator)
        else:
            image = self.preprocessing.geometry(image)
        x = self.preprocessing.values(augmented(image, settings, generator)[None])[0]
        return torch.from_numpy(x), torch.tensor(self._y[index])

    def training_inputs(self) -> Iterator[Tensor]:
        """See Task.training_inputs."""
        return self._inputs(self._training)

    def held_out(self) -> Iterator[Tensor]:
        """See Task.held_out."""
        return self._inputs(self._validation)

    def labeled_held_out(self) -> Iterator[tuple[Tensor, Tensor]]:
        """`held_out`, with labels [n] int64."""
        for place, x in self._validation.batches(self.preprocessing, _EVALUATION_BATCH):
            yield torch.from_numpy(x), torch.from_numpy(self._y_held[place])

    def _inputs(self, images: ImageSet) -> Iterator[Tensor]:
        return (torch.from_numpy(x) for _, x in images.batches(self.preprocessing, _EVALUATION_BATCH))

    def evaluate(self, network: nn.Module) -> float:
        """Share of the held-out images whose largest logit is their label."""
        network.eval()
        device = device_of(network)
        with torch.inference_mode():
            predictions = torch.cat([network(part.to(device)).argmax(1).cpu() for part in self.held_out()])
        return float((predictions.numpy() == self._y_held).mean())

    def figures(self, network: nn.Module) -> Mapping[str, float]:
        """`shift_consistency` and `shift_accuracy`, in percent, if the recipe has them on."""
        settings = self._recipe.evaluation
        if not settings.shift_consistency:
            return {}
        network.eval()
        device = device_of(network)

        def predict(x: Batch) -> NDArray[np.floating]:
            with torch.inference_mode():
                logits: NDArray[np.floating] = network(torch.from_numpy(x).to(device)).cpu().numpy()
            return logits

        # The square that all crops together cover, cut from the image's center or made by the margin.
        side = settings.crop + settings.max_offset - 1 - 2 * settings.margin
        larger = replace(self.preprocessing, crop=(side, side))

        def batches() -> Iterator[tuple[Batch, NDArray[np.int64] | None]]:
            for place, x in self._validation.batches(larger, _CONSISTENCY_BATCH):
                yield pad_images(x, settings.margin), self._y_held[place]

        result = shift_consistency(predict, batches, (settings.crop, settings.crop), settings.max_offset)
        return {"shift_consistency": result.consistent, "shift_accuracy": result.accuracy or 0.0}


def read_data(data: DataRecipe) -> tuple[ImageSet, ImageSet]:
    """Training and validation images; raises UsageError where the recipe gives none."""
    if data.name == "digits":
        return read_digits()
    if data.name == "imagenet":
        if not data.folder:
            raise UsageError("the recipe has no data.folder", hint="give --folder, the folder of train and val")
        return read_imagenet(Path(data.folder), "train"), read_imagenet(Path(data.folder), "val")
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


def _labels(images: ImageSet) -> NDArray[np.int64]:
    if images.labels is None:
        raise UsageError("images for training and validation need labels: one folder per class, or an .npz with labels")
    return images.labels
