"""An interrupted training goes on as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn

import adroit.models.training.loop
import adroit.models.training.methods
from adroit import files
from adroit.errors import OutOfResource, UsageError
from adroit.files import sha256
from adroit.models.training.loop import train
from adroit.models.training.methods.base import Setup, Step, TrainingMethod
from adroit.models.training.options import Accelerator, RunOptions, StepDone
from adroit.models.training.recipe import read_recipe
from adroit.models.training.state import random_state, set_random_state, state_path
from adroit.models.training.tables import AugmentationRecipe, DataRecipe, OptimizerRecipe, Recipe, RoutingRecipe
from tests.conftest import ROOT
from tests.models.training.conftest import image_recipe, quiet, routed_recipe


class Killed(Exception):
    """Stands for a signal."""


def run(recipe: Recipe, folder: Path, stop_after: int | None = None, **options: Any) -> None:
    """One run, ended by `Killed` once so many steps are done."""

    def on_step(step: StepDone) -> None:
        if step.number == stop_after:
            raise Killed

    train(recipe, "", folder, quiet, RunOptions(Accelerator.CPU, on_step=on_step, **options))


@dataclass(frozen=True)
class Settings:
    """Of the method below."""

    weight: float = 0.1


class Wandering(TrainingMethod):
    """Has all that a method may have: a head, an optimizer of its own, a buffer, and draws from every generator."""

    count: torch.Tensor

    def __init__(self, settings: Settings, setup: Setup) -> None:
        super().__init__(settings, setup)
        self.head = nn.Linear(10, 1)
        self._own = (nn.Linear(10, 1),)
        self._optimizer = torch.optim.Adam(self._own[0].parameters(), 0.01)
        self.register_buffer("count", torch.zeros(()))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {**super().state_dict(*args, **kwargs), **{f"own.{k}": v for k, v in self._own[0].state_dict().items()}}

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        self._own[0].load_state_dict({k[4:]: v for k, v in state_dict.items() if k.startswith("own.")})
        return super().load_state_dict({k: v for k, v in state_dict.items() if not k.startswith("own.")})

    def optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        return (self._optimizer,)

    def loss(self, step: Step) -> torch.Tensor:
        drawn = float(np.random.rand()) + random.random() + float(np.random.randn()) + random.gauss(0, 1)
        return 0.01 * (drawn + self.count) * (self.head(step.logits) + self._own[0](step.logits)).mean()

    def after_step(self, step: Step) -> None:
        self.count += 1
        self._optimizer.zero_grad()
        self._own[0](step.logits.detach()).square().mean().backward()
        self._optimizer.step()


@pytest.fixture
def wandering(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(adroit.models.training.methods, "METHODS", ("wandering",))
    monkeypatch.setitem(
        sys.modules, "adroit.models.training.methods.wandering", SimpleNamespace(Settings=Settings, METHOD=Wandering)
    )
    return Settings()


def _images(images: Path, camvid: Path, settings: Settings) -> Recipe:
    return replace(image_recipe(images, 3, precise_batch_norm=2), methods={"wandering": settings})


def _routed(images: Path, camvid: Path, settings: Settings) -> Recipe:
    recipe = routed_recipe(camvid, 3, method="adamw", learning_rate=1e-3, warm_up=1.0)
    return replace(recipe, routing=RoutingRecipe(0.2, 0.5, 2.0, budget_start=0.1, largest_threshold=0.5))


def _adder(images: Path, camvid: Path, settings: Settings) -> Recipe:
    optimizer = OptimizerRecipe(2, 4, accumulate=2, nesterov=True)
    return Recipe("adder-lenet5-bn", DataRecipe(training=str(images), validation=str(images)), optimizer)


@pytest.mark.parametrize("make", [_images, _routed, _adder])
def test_a_resumed_training_gives_the_same_weights(
    make: Callable[[Path, Path, Settings], Recipe], images: Path, camvid: Path, wandering: Settings, tmp_path: Path
) -> None:
    """Interrupted twice, at random steps, between two states and right after one."""
    recipe = make(images, camvid, wandering)
    run(recipe, tmp_path / "whole")
    last = recipe.optimizer.epochs * (12 // 4 if make is not _routed else 6 // 3)
    stops = sorted(random.Random(make.__name__).sample(range(2, last), 2))
    for stop in stops:
        with pytest.raises(Killed):
            run(recipe, tmp_path / "cut", stop, resume=True, keep_every=2)
        np.random.seed(99)
        random.seed(99)
        torch.manual_seed(99)
    run(recipe, tmp_path / "cut", resume=True, workers=1)
    assert sha256(tmp_path / "whole" / "model.safetensors") == sha256(tmp_path / "cut" / "model.safetensors")
    assert not state_path(tmp_path / "cut").exists()


RECIPE = """
architecture = "aa-cifar-resnet20"
[arguments]
width = 4
filter = "none"
[data]
training = "{images}"
validation = "{images}"
[optimizer]
epochs = 12
batch = 4
[augmentation]
shift = 2
"""


@pytest.mark.timeout(1200)
def test_a_killed_process_is_resumed_to_the_same_weights(images: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(images=images))
    options = ["--resume", "--keep-every", "1", "--threads", "1"]
    call = [
        sys.executable,
        "-c",
        "from adroit.deploy.cli.main import main; main()",
        "train",
        path,
        "-o",
        tmp_path / "killed",
    ]
    kept = state_path(tmp_path / "killed")
    process = subprocess.Popen([*call, *options], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not kept.exists():
        assert process.poll() is None, "it ended before it kept a state"
        time.sleep(0.01)
    time.sleep(0.5 * random.random())
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run([*call, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    train(*read_recipe(str(path)), tmp_path / "whole", quiet, RunOptions(Accelerator.CPU))
    assert sha256(tmp_path / "whole" / "model.safetensors") == sha256(tmp_path / "killed" / "model.safetensors")


@pytest.fixture
def interrupted(images: Path, tmp_path: Path) -> Recipe:
    recipe = image_recipe(images)
    with pytest.raises(Killed):
        run(recipe, tmp_path / "a", 4)
    return recipe


def test_a_state_of_version_0_1_is_resumed(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its recipe has other words for two keys."""
    recipe = image_recipe(images)

    def old(about: dict[str, Any]) -> dict[str, Any]:
        optimizer, initial = dict(about["optimizer"]), dict(about["initial"])
        optimizer["settle_batches"], initial["trained"] = optimizer.pop("precise_batch_norm"), initial.pop("trainable")
        return {**about, "optimizer": optimizer, "initial": initial}

    save = adroit.models.training.loop.save_state
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(
            adroit.models.training.loop, "save_state", lambda path, about, *rest: save(path, old(about), *rest)
        )
        run(recipe, tmp_path / "a", 4)
    assert b"settle_batches" in state_path(tmp_path / "a").read_bytes()
    run(recipe, tmp_path / "a", resume=True)
    assert (tmp_path / "a" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda r: replace(r, seed=1), "seed"),
        (lambda r: replace(r, optimizer=replace(r.optimizer, learning_rate=0.06)), "optimizer"),
        (lambda r: replace(r, augmentation=AugmentationRecipe()), "augmentation"),
        (lambda r: replace(r, arguments={"width": 8, "filter": "none"}), "arguments"),
    ],
)
def test_another_recipe_is_not_resumed(
    interrupted: Recipe, tmp_path: Path, change: Callable[[Recipe], Recipe], name: str
) -> None:
    before = sha256(state_path(tmp_path / "a"))
    with pytest.raises(UsageError, match=f"is of another training: {name} differ"):
        run(change(interrupted), tmp_path / "a", resume=True)
    assert sha256(state_path(tmp_path / "a")) == before and not (tmp_path / "a").exists()


def test_an_interrupted_training_is_not_begun_anew_unasked(interrupted: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds an interrupted training") as caught:
        run(interrupted, tmp_path / "a")
    assert "--resume" in str(caught.value)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b[:8] + b"x" * 40 + b[48:]])
def test_a_damaged_state_is_one_clear_error(
    interrupted: Recipe, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = state_path(tmp_path / "a")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError, match="cannot read the interrupted training"):
        run(interrupted, tmp_path / "a", resume=True)


def test_random_generators_go_on_where_they_stood() -> None:
    np.random.randn()  # an odd number of normal values: one is held back
    random.gauss(0, 1)
    state = random_state()
    first = (torch.rand(3).tolist(), np.random.randn(3).tolist(), [random.gauss(0, 1) for _ in range(3)])
    set_random_state(state)
    assert first == (torch.rand(3).tolist(), np.random.randn(3).tolist(), [random.gauss(0, 1) for _ in range(3)])


@pytest.mark.parametrize("name", ["a.resume.safetensors", "model.safetensors", "config.json"])
def test_a_full_disk_is_told_and_leaves_no_half_checkpoint(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import errno

    real = os.fsync

    def full(descriptor: int) -> None:
        if f".{name}." in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutOfResource, match="the disk is full"):
        run(image_recipe(images), tmp_path / "out" / "a")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == ({"a.resume.safetensors"} if name != "a.resume.safetensors" else set())
    monkeypatch.undo()
    run(image_recipe(images), tmp_path / "out" / "a", resume=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a"}
