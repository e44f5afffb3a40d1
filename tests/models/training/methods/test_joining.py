"""The methods in the loop: wrong tables are refused with their place, and an interrupted training goes on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.training.loop import train
from adroit.models.training.options import RunOptions, StepDone
from adroit.models.training.recipe import read_recipe
from adroit.models.training.tables import Recipe
from tests.models.training.methods.recipes import tiny, trained

BASE = """
architecture = "wide-resnet"
[data]
name = "digits"
[optimizer]
epochs = 1
"""


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[igam]\nbetta = 1.0", "igam.betta is not a field of a recipe"),
        ("[igam]\nstart = 1.5", "igam.start must be at most 1, and is 1.5"),
        ('[igam]\ngradient = "logit"', "igam.gradient must be one of loss, probability, and is 'logit'"),
        ('[igam]\nmatching = "stretch"', "igam.matching must be one of resize, crop, pad"),
        ("[igam]\ndiscriminator_every = 0", "igam.discriminator_every must be at least 1"),
        ("[adversarial_training]\nepsilon = -1", "adversarial_training.epsilon must not be negative"),
        ("[adversarial_training]\nsteps = 2.5", "adversarial_training.steps must be a whole number"),
        ("[robustness]\nsteps = 20", "robustness.steps must be a list"),
        ("[clusterfit]\nclusters = 1", "clusterfit.clusters must be at least 2"),
        ('[clusterfit]\nalgorithm = "ward"', "clusterfit.algorithm must be one of lloyd, minibatch"),
        ("[bownet]\nlocations = 1.5", "bownet.locations must be at most 1"),
        ("[bownet]\ncutmix = 2.0", "bownet.cutmix must be at most 1"),
        ("[robustness]\nrestarts = 0", "robustness.restarts must be at least 1"),
        ('[bownet]\nhead = "mlp"', "bownet.head must be one of cosine, linear"),
        ("[rotnet]\nangles = 8", "rotnet.angles is not a field"),
    ],
)
def test_a_wrong_field_is_named_with_its_table(table: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(BASE + table)
    with pytest.raises(UsageError, match=message):
        read_recipe(str(path))


class Interrupted(Exception):
    """Stands for a kill."""


def recipe_of(method: str, images: Path, rotnet: Path, robust: Path) -> Recipe:
    igam = {"discriminator_layers": 3, "discriminator_base": 4, "start": 0.3, "noise": 8.0, "discriminator_every": 1}
    tables: dict[str, tuple[dict[str, Any], int, Path | str]] = {
        "igam": ({"igam": igam}, 10, robust),
        "adversarial_training": ({"adversarial_training": {"steps": 1}}, 10, ""),
        "rotnet": ({"rotnet": {}}, 4, ""),
        "bownet": ({"bownet": {"words": 6, "cutmix": 0.5}}, 6, rotnet),
        "clusterfit": ({"clusterfit": {"clusters": 3}}, 3, rotnet),
    }
    methods, classes, teacher = tables[method]
    return tiny(images, methods, classes=classes, teacher=str(teacher))


@pytest.mark.parametrize("method", ["igam", "adversarial_training", "rotnet", "bownet", "clusterfit"])
def test_an_interrupted_training_goes_on_to_the_same_weights(
    method: str, images: Path, rotnet: Path, robust: Path, tmp_path: Path
) -> None:
    """Discriminator, its optimizer and its count, the head's scale, clusters and words are all as they were."""
    recipe = recipe_of(method, images, rotnet, robust)
    trained(recipe, tmp_path / "whole")

    def stop(step: StepDone) -> None:
        if step.number == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(recipe, "", tmp_path / "parts", lambda _: None, RunOptions(keep_every=1, on_step=stop))
    assert not (tmp_path / "parts").exists()
    torch.manual_seed(99)
    train(recipe, "", tmp_path / "parts", lambda _: None, RunOptions(resume=True))
    whole, parts = (load_checkpoint(tmp_path / name)[0].state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
