"""Training of classification networks on given images, and shift consistency as a figure of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.data.images import read_images
from adroit.models.metrics.shift_consistency import pad_images, shift_consistency
from adroit.models.training.loop import train
from adroit.models.training.tables import DataRecipe, EvaluationRecipe, OptimizerRecipe, Recipe
from tests.models.training.conftest import quiet


def recipe(images: Path, **evaluation: int) -> Recipe:
    return Recipe(
        "aa-cifar-resnet20",
        DataRecipe(training=str(images), validation=str(images)),
        OptimizerRecipe(2, 6, 0.05),
        arguments={"width": 4},
        evaluation=EvaluationRecipe(shift_consistency=True, **evaluation),
    )


@pytest.mark.parametrize(("crop", "max_offset", "margin"), [(24, 9, 0), (32, 9, 4)])
def test_shift_consistency_is_measured_and_kept(
    images: Path, tmp_path: Path, crop: int, max_offset: int, margin: int
) -> None:
    trained = train(recipe(images, crop=crop, max_offset=max_offset, margin=margin), "", tmp_path / "a", quiet)
    network, config = load_checkpoint(tmp_path / "a")
    held_out = read_images(images)
    _, x = next(held_out.batches(config.preprocessing, 12))

    def predict(part: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(part)).numpy()

    padded = pad_images(x, margin)
    expected = shift_consistency(predict, lambda: [(padded, held_out.labels)], (crop, crop), max_offset)
    assert config.source["shift_consistency"] == trained.figures["shift_consistency"] == expected.consistent
    assert config.source["shift_accuracy"] == expected.accuracy


def test_no_figure_is_measured_unasked(images: Path, tmp_path: Path) -> None:
    trained = train(replace(recipe(images), evaluation=EvaluationRecipe()), "", tmp_path / "a", quiet)
    assert trained.figures == {}


def test_a_recipe_without_images_says_what_to_give(images: Path, tmp_path: Path) -> None:
    bare = replace(recipe(images), data=DataRecipe(training=str(images)))
    with pytest.raises(UsageError, match=r"no data\.validation") as caught:
        train(bare, "", tmp_path / "a", quiet)
    assert "--validation DATA" in str(caught.value)


def test_labels_that_are_no_class_are_refused(images: Path, tmp_path: Path) -> None:
    seven = replace(recipe(images, crop=24, max_offset=9), arguments={"classes": 7, "width": 4})
    with pytest.raises(UsageError, match="the labels are 0 to 9, and the network has classes 0 to 6"):
        train(seven, "", tmp_path / "a", quiet)


@pytest.mark.parametrize(
    ("architecture", "evaluation", "message"),
    [
        ("adder-lenet5-bn", {"crop": 24, "max_offset": 9}, "evaluation.crop must be 32"),
        ("aa-cifar-resnet20", {"crop": 24, "max_offset": 20}, "smaller than the crop of 43 x 43"),
        ("aa-cifar-resnet20", {"crop": 24, "max_offset": 1, "margin": 12}, "evaluation.margin of 12 pixels"),
    ],
)
def test_crops_that_the_images_do_not_hold_are_refused(
    images: Path, tmp_path: Path, architecture: str, evaluation: dict[str, int], message: str
) -> None:
    wrong = replace(recipe(images, **evaluation), architecture=architecture, arguments={})
    with pytest.raises(UsageError, match=message):
        train(wrong, "", tmp_path / "a", quiet)
