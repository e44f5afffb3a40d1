"""Trainings with a method: the recipe's tables, the same weights again, and a checkpoint as any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.errors import UsageError
from adroit.files import sha256
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.training.loop import train
from adroit.models.training.options import RunOptions, StepDone
from adroit.models.training.recipe import read_recipe
from tests.conftest import Adroit
from tests.models.training.methods.conftest import RECIPE, Recipes
from tests.models.training.test_processes import run

PERCEPTUAL = "[perceptual_loss]\nwidth = 4\nlayout = [1, 2, 1, 1, 1]\n"
REGULATION = "[self_regulation]\nchannels = 6\nstart = 0.4\n"
METHODS = {"perceptual": PERCEPTUAL, "regulation": REGULATION, "both": PERCEPTUAL + REGULATION}


def quiet(_: object) -> None:
    """Reports nothing."""


@pytest.fixture(scope="module")
def teacher(streets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A larger network's checkpoint, trained for two epochs."""
    folder = tmp_path_factory.mktemp("teacher")
    text = RECIPE.format(folder=streets).replace("width = 4", "width = 8").replace('"normal"', '"none"')
    (folder / "recipe.toml").write_text(text)
    train(*read_recipe(str(folder / "recipe.toml")), folder / "checkpoint", quiet)
    return folder / "checkpoint"


def trained(recipes: Recipes, tables: str, teacher: Path, folder: Path, options: RunOptions | None = None) -> Path:
    recipe, text = recipes(tables)
    recipe = replace(recipe, teacher=str(teacher) if "perceptual" in tables else "")
    train(recipe, text, folder, quiet, options or RunOptions())
    return folder


@pytest.mark.parametrize("tables", METHODS.values(), ids=METHODS)
def test_the_same_seed_gives_the_same_weights_and_a_method_others(
    recipes: Recipes, teacher: Path, tmp_path: Path, tables: str
) -> None:
    given = {"a": tables, "b": tables, "plain": ""}
    a, b, plain = (
        sha256(trained(recipes, given[name], teacher, tmp_path / name) / "model.safetensors") for name in given
    )
    assert a == b != plain


class Killed(Exception):
    """What ends a training in its middle."""


@pytest.mark.parametrize("at", [1, 4])
def test_a_resumed_training_with_exits_gives_the_same_weights(
    recipes: Recipes, teacher: Path, tmp_path: Path, at: int
) -> None:
    """Killed before and after the exits begin to teach each other: heads and their norms are part of the state."""

    def kill(step: StepDone) -> None:
        if step.number == at + 1:
            raise Killed

    tables = METHODS["both"]
    whole = trained(recipes, tables, teacher, tmp_path / "whole")
    with pytest.raises(Killed):
        trained(recipes, tables, teacher, tmp_path / "parts", RunOptions(keep_every=1, on_step=kill))
    trained(recipes, tables, teacher, tmp_path / "parts", RunOptions(resume=True))
    assert sha256(whole / "model.safetensors") == sha256(tmp_path / "parts" / "model.safetensors")


@pytest.mark.timeout(600)
def test_two_processes_train_the_exits_as_one(streets: Path, tmp_path: Path) -> None:
    """Their norms take statistics of both; no layer is left without a gradient. The same but for rounding."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(folder=streets).replace("crop = [64, 96]", "") + REGULATION)
    done = run(recipe, tmp_path / "two", 2)
    assert done.returncode == 0, done.stderr
    two = load_file(tmp_path / "two" / "model.safetensors")
    train(*read_recipe(str(recipe)), tmp_path / "one", quiet)
    one = load_file(tmp_path / "one" / "model.safetensors")
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=2e-3, atol=2e-3, msg=lambda m, n=name: f"{n}: {m}")


def exported(checkpoint: Path, repository: Path) -> tuple[Deployment, bytes, list[object]]:
    """The deployment, its graph without weights, and the weights' names, types and shapes."""
    deployment = export_deployment(checkpoint, repository, routing=Routing("masked"))
    graph = deployment.load_model().graph
    weights: list[object] = [(w.name, w.data_type, list(w.dims)) for w in graph.initializer]
    del graph.initializer[:]
    return deployment, graph.SerializeToString(deterministic=True), weights


@pytest.fixture(scope="module")
def plain(streets: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, list[object]]:
    """The same recipe without a method: checkpoint, graph, weights."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "recipe.toml").write_text(RECIPE.format(folder=streets))
    train(*read_recipe(str(folder / "recipe.toml")), folder / "checkpoint", quiet)
    return folder / "checkpoint", *exported(folder / "checkpoint", folder / "repository")[1:]


@pytest.mark.parametrize("name", ["perceptual", "regulation"])
def test_the_checkpoint_goes_through_export_check_and_profile_as_the_plain_networks(
    recipes: Recipes,
    teacher: Path,
    streets: Path,
    tmp_path: Path,
    adroit: Adroit,
    plain: tuple[Path, bytes, list[object]],
    name: str,
) -> None:
    """Nothing of the method is in the tensors, and the graph is the plain network's."""
    checkpoint = trained(recipes, METHODS[name], teacher, tmp_path / "checkpoint")
    tensors = [{n: t.shape for n, t in load_checkpoint(c)[0].state_dict().items()} for c in (checkpoint, plain[0])]
    assert tensors[0] == tensors[1]
    deployment, graph, weights = exported(checkpoint, tmp_path / "repository")
    assert (graph, weights) == plain[1:]
    checked = adroit("check", deployment.path, "--data", streets / "val" / "images", "--operators", "portable")
    assert checked.code == 0, checked.out + checked.err
    profiled = adroit(
        "profile", deployment.path, "--size", 64, 96, "--seconds", 0.1, "--operators", "portable", "--json"
    )
    assert profiled.code == 0, profiled.err


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ("[perceptual_loss]\nweight = -1\n", "perceptual_loss.weight must not be negative, and is -1"),
        ("[perceptual_loss]\nlayout = [1, 1]\n", "perceptual_loss.layout must have 5 whole numbers, and has 2"),
        ("[perceptual_loss]\nlayout = [1, 1, 1, 0, 1]\n", r"perceptual_loss.layout\[3\] must be at least 1, and is 0"),
        ("[perceptual_loss]\nlayout = [1, 1, 1.5, 1, 1]\n", r"perceptual_loss.layout\[2\] must be a whole number"),
        ('[perceptual_loss]\ntarget = "truth"\n', "perceptual_loss.target must be one of teacher, labels, and is"),
        ('[perceptual_loss]\nlevels = "first"\n', "perceptual_loss.levels must be one of blocks, last, all"),
        ("[perceptual_loss]\nwieght = 1\n", "perceptual_loss.wieght is not a field"),
        ("[self_regulation]\nfeature_temperature = 0\n", "self_regulation.feature_temperature must be at least 0.001"),
        ('[self_regulation]\nform = "paper2"\n', "self_regulation.form must be one of paper, code"),
        ("[self_regulation]\npoints = [1, 2]\n", r"self_regulation.points\[0\] must be a string, and is 1"),
        ("[self_regulation]\nchannels = 0\n", "self_regulation.channels must be at least 1, and is 0"),
    ],
)
def test_a_wrong_field_is_named_with_its_place(recipes: Recipes, tables: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"recipe\.toml: {message}"):
        recipes(tables)
