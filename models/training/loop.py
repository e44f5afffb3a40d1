"""The training loop."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.architectures import architecture_named, build_network
from models.checkpoint import CheckpointConfig, save_checkpoint
from models.data.digits import read_digits
from models.data.images import ImageSet, read_images
from models.data.preprocessing import Preprocessing
from models.errors import UnsupportedModel, UsageError
from models.training.recipe import AugmentationRecipe, Recipe


@dataclass(frozen=True)
class Epoch:
    """What an epoch reached: mean training loss, and accuracy (0 to 1) on the images held out."""

    number: int
    epochs: int
    loss: float
    accuracy: float


def train(recipe: Recipe, recipe_text: str, folder: Path, report: Callable[[Epoch], None]) -> Epoch:
    """Trains as the recipe says and writes a checkpoint to `folder`.

    The same recipe gives the same weights on the same machine and thread count.

    Raises:
        UsageError: data that is missing or has no labels, or labels that are no classes.
        UnsupportedModel: the loss is no longer finite.
    """
    training, validation = _read(recipe)
    architecture = architecture_named(recipe.architecture)
    # Images of any size become the network's own.
    preprocessing = architecture.preprocessing
    if preprocessing.size is None:
        preprocessing = replace(preprocessing, resize=architecture.input_size)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.architecture, recipe.arguments)
    x, y = _tensors(training, preprocessing)
    x_held, y_held = _tensors(validation, preprocessing)
    epoch = _run(network, recipe, (x, y), (x_held, y_held), report)
    config = CheckpointConfig(
        recipe.architecture,
        preprocessing,
        dict(recipe.arguments),
        list(training.class_names or ()),
        {
            "recipe_sha256": hashlib.sha256(recipe_text.encode()).hexdigest(),
            "seed": recipe.seed,
            "accuracy": epoch.accuracy,
        },
    )
    save_checkpoint(folder, network.eval(), config)
    return epoch


def _read(recipe: Recipe) -> tuple[ImageSet, ImageSet]:
    if recipe.data.name == "digits":
        return read_digits()
    if recipe.data.name or not (recipe.data.training and recipe.data.validation):
        raise UsageError("a recipe's [data] names digits, or gives training and validation paths")
    training = read_images(recipe.data.training)
    return training, read_images(recipe.data.validation, training.class_names)


def _tensors(images: ImageSet, preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    if images.labels is None:
        raise UsageError("images for training and validation need labels: one folder per class, or an .npz with labels")
    parts: list[NDArray[np.float32]] = [x for _, x in images.batches(preprocessing, 1024)]
    return torch.from_numpy(np.concatenate(parts)), torch.from_numpy(images.labels)


def _run(
    network: nn.Module,
    recipe: Recipe,
    data: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    report: Callable[[Epoch], None],
) -> Epoch:
    settings = recipe.optimizer
    generator = torch.Generator().manual_seed(recipe.seed)
    steps = max(1, len(data[0]) // settings.batch)
    optimizer = torch.optim.SGD(
        network.parameters(), settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * steps)
    criterion = nn.CrossEntropyLoss()
    epoch = Epoch(0, settings.epochs, float("nan"), accuracy(network, *held_out))
    for number in range(1, settings.epochs + 1):
        network.train()
        losses = 0.0
        order = torch.randperm(len(data[0]), generator=generator)
        for step in range(steps):
            picked = order[step * settings.batch : (step + 1) * settings.batch]
            loss = criterion(network(augmented(data[0][picked], recipe.augmentation, generator)), data[1][picked])
            if not torch.isfinite(loss):
                raise UnsupportedModel(
                    f"the loss is {loss.item()} in epoch {number}, step {step + 1}",
                    hint="lower optimizer.learning_rate",
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses += loss.item()
        epoch = Epoch(number, settings.epochs, losses / steps, accuracy(network, *held_out))
        report(epoch)
    return epoch


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


def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of the images whose largest logit is their label."""
    network.eval()
    with torch.inference_mode():
        right = sum(
            int((network(part).argmax(1) == labels).sum())
            for part, labels in zip(x.split(256), y.split(256), strict=True)
        )
    return right / len(y)
