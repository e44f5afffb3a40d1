"""The command `adroit train`: it reaches its accuracy, and the same seed gives the same weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from adroit.files import sha256
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.data.digits import read_digits
from adroit.models.training.loop import train
from adroit.models.training.options import Accelerator, RunOptions
from tests.conftest import Adroit
from tests.models.training.conftest import image_recipe, quiet

SHORT = """
architecture = "adder-lenet5-bn"
seed = 3
[data]
name = "digits"
[optimizer]
epochs = 1
batch = 256
[augmentation]
shift = 1
flip = true
"""


@pytest.mark.timeout(1200)
def test_adder_lenet5_reaches_97_percent_on_the_held_out_digits(adroit: Adroit, tmp_path: Path) -> None:
    result = adroit("train", "digits-adder-lenet5", "-o", tmp_path / "checkpoint")
    assert result.code == 0, result.err
    network, config = load_checkpoint(tmp_path / "checkpoint")
    _, held_out = read_digits()
    assert held_out.labels is not None
    _, x = next(held_out.batches(config.preprocessing, len(held_out)))
    with torch.no_grad():
        right = network(torch.from_numpy(x)).argmax(1).numpy() == held_out.labels
    assert right.mean() >= 0.97
    assert config.source["accuracy"] == pytest.approx(right.mean())
    assert list(config.labels) == [str(i) for i in range(10)]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_seed_gives_the_same_weights(images: Path, tmp_path: Path, workers: int) -> None:
    for name, seed, own in (("a", 3, 0), ("b", 3, workers), ("c", 4, 0)):
        recipe = replace(image_recipe(images, precise_batch_norm=1), seed=seed)
        train(recipe, "", tmp_path / name, quiet, RunOptions(Accelerator.CPU, workers=own))
        np.random.rand()
        torch.rand(())
    a, b, c = (sha256(tmp_path / name / "model.safetensors") for name in "abc")
    assert a == b != c


def test_options_replace_the_recipes_data_and_seed(adroit: Adroit, images: Path, tmp_path: Path) -> None:
    text = SHORT.replace('name = "digits"', 'training = "absent.npz"').replace("batch = 256", "batch = 12")
    (tmp_path / "recipe.toml").write_text(text)
    paths = ["--training", images, "--validation", images]
    result = adroit("train", tmp_path / "recipe.toml", "-o", tmp_path / "a", *paths, "--seed", 5)
    assert result.code == 0, result.err
    assert re.fullmatch(r"\S+: adder-lenet5-bn, \d+\.\d\d% of the images held out are right\n", result.out)
    source = json.loads((tmp_path / "a" / "config.json").read_text())["source"]
    assert source["seed"] == 5
    assert source["data"] == {"training": str(images), "validation": str(images)}
