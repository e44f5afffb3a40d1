"""What each kind of training ends in goes through export, check and profile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from adroit.deploy.cli.main import main
from adroit.models.training.loop import train
from adroit.models.training.options import Accelerator, RunOptions
from adroit.models.training.tables import AugmentationRecipe, Recipe, RoutingRecipe
from tests.models.training.conftest import image_recipe, quiet, routed_recipe


def _adder(images: Path, camvid: Path) -> Recipe:
    """Its norms' statistics settled: a few steps are not enough for means near -1,000."""
    recipe = image_recipe(images, precise_batch_norm=2)
    return replace(recipe, architecture="adder-lenet5-bn", arguments={}, augmentation=AugmentationRecipe(shift=1))


def _ordinary(images: Path, camvid: Path) -> Recipe:
    return replace(_adder(images, camvid), arguments={"kind": "ordinary"})


def _anti_aliased(images: Path, camvid: Path) -> Recipe:
    return replace(image_recipe(images), arguments={"width": 4, "filter": "adaptive"})


def _routed(images: Path, camvid: Path) -> Recipe:
    recipe = routed_recipe(camvid, 4)
    return replace(recipe, routing=RoutingRecipe(0.8, 0.1, 2.0, budget_start=0.1))


def command(*arguments: object) -> int:
    """The exit code of `adroit` in this process."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("make", [_adder, _ordinary, _anti_aliased, _routed])
def test_a_trained_checkpoint_is_exported_checked_and_profiled(
    make: Callable[[Path, Path], Recipe],
    images: Path,
    camvid: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = make(images, camvid)
    train(recipe, "", tmp_path / "checkpoint", quiet, RunOptions(Accelerator.CPU))
    data = camvid / "val" if make is _routed else images
    repository = tmp_path / "repository"
    assert command("export", tmp_path / "checkpoint", "-o", repository, "--name", "net", "--portable") == 0
    portable = ["--operators", "portable"]
    assert command("check", repository / "net", "--data", data, *portable) == 0, capsys.readouterr().out
    capsys.readouterr()
    assert command("profile", repository / "net", "--threads", 1, "--seconds", 0.1, "--json", *portable) == 0
    assert json.loads(capsys.readouterr().out)
