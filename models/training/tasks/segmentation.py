"""One class for every pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.data.preprocessing import Image, Preprocessing
from adroit.models.data.segmentation import READERS, LabelMap, SegmentationSet
from adroit.models.metrics.segmentation import ConfusionMatrix
from adroit.models.networks.architectures import architecture_named
from adroit.models.training.augmentation import augmented_pair
from adroit.models.training.tables import Recipe
from adroit.models.training.tasks import device_of


class Segmentation:
    """See Task. Images are read when they are needed.

    Held-out images are judged one at a time at their own size, as a deployment sees them. (The
    preprocessing of segmentation networks neither resizes nor crops; it may pad.)

    Raises:
        UsageError: see `task_of`.
    """

    measure = "mean intersection over union on the images held out"
    views = 1

    def __init__(self, recipe: Recipe) -> None:
        architecture = architecture_named(recipe.architecture)
        if not recipe.data.folder:
            raise UsageError("the recipe has no data.folder", hint=f"give --folder, the top of {recipe.data.name}")
        read, folder = READERS[recipe.data.name], Path(recipe.data.folder)
        self._training, self._validation = read(folder, "train"), read(folder, "val")
        self._name, self._augmentation = recipe.data.name, recipe.augmentation
        self.preprocessing: Preprocessing = architecture.preprocessing
        self.labels: Sequence[str] = list(self._training.class_names)
        self.ignored: int | None = self._training.ignored
        self.input_size = self.preprocessing.input_size(recipe.augmentation.crop or self._training.size(0))

    def __len__(self) -> int:
        return len(self._training)

    def check_classes(self, classes: int) -> None:
        """Raises UsageError where the network has another number of classes than the data set."""
        if classes != len(self.labels):
            raise UsageError(
                f"{self._name} has {len(self.labels)} classes, and the network {classes}",
                hint=f"set classes = {len(self.labels)} in the recipe's [arguments]",
            )

    def sample(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns an augmented image [C,H,W] and its labels [H,W]; see Task.sample."""
        image, labels = augmented_pair(*self._training.load(index), self._augmentation, generator)
        x, y = self._filled(image, labels, self._training.images[index])
        return torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))

    def training_inputs(self) -> Iterator[Tensor]:
        """See Task.training_inputs."""
        return self._inputs(self._training)

    def _filled(self, image: Image, labels: LabelMap, file: Path) -> tuple[np.ndarray, np.ndarray]:
        """The image as input [C,H,W] and its labels [H,W], filled up to the inputs' size where smaller."""
        x = self.preprocessing.values(image[None])[0]
        missing = [want - have for want, have in zip(self.input_size, x.shape[1:], strict=True)]
        if min(missing) < 0 or (max(missing) > 0 and self._augmentation.crop is None):
            raise UsageError(
                f"{file} is not of the first image's size", hint="set augmentation.crop: a batch is of one size"
            )
        bottom, right = (want - have for want, have in zip(self.input_size, labels.shape, strict=True))
        x = np.pad(x, ((0, 0), (0, missing[0]), (0, missing[1])))
        return x, np.pad(labels, ((0, bottom), (0, right)), constant_values=self.ignored or 0)

    def held_out(self) -> Iterator[Tensor]:
        """See Task.held_out."""
        return self._inputs(self._validation)

    def _inputs(self, images: SegmentationSet) -> Iterator[Tensor]:
        for index in range(len(images)):
            yield torch.from_numpy(self.preprocessing.values(images.load(index)[0][None]))

    def evaluate(self, network: nn.Module) -> float:
        """Mean intersection over union, void pixels not counted."""
        network.eval()
        device = device_of(network)
        matrix = ConfusionMatrix(len(self.labels), self.ignored)
        with torch.inference_mode():
            for index in range(len(self._validation)):
                image, labels = self._validation.load(index)
                x = torch.from_numpy(self.preprocessing.values(image[None])).to(device)
                prediction = network(x).argmax(1)[0].cpu().numpy()
                matrix.add(self.preprocessing.unpadded(prediction, (labels.shape[0], labels.shape[1])), labels)
        return matrix.mean_intersection_over_union

    def figures(self, network: nn.Module) -> Mapping[str, float]:
        """None: the mean intersection over union is all that is measured."""
        return {}
