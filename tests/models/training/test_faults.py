"""Wrong recipes, data and arguments: one clear error each, and no half-written checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adroit.deploy.cli.main import main
from adroit.errors import OutOfResource
from adroit.models.training.loop import train
from adroit.models.training.options import Accelerator, RunOptions
from adroit.models.training.step import TrainingStep
from tests.models.training.conftest import image_recipe, quiet

RECIPE = """
architecture = "aa-cifar-resnet20"
[arguments]
width = 4
filter = "none"
[data]
training = "{0}/training.npz"
validation = "{0}/validation.npz"
[optimizer]
epochs = 1
batch = 4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe and its data."""
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    for name in ("training", "validation"):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.arange(8))
    (tmp_path / "recipe.toml").write_text(RECIPE.format(tmp_path))
    return tmp_path


def _replace(old: str, new: str) -> Callable[[Path], list[str]]:
    def spoil(folder: Path) -> list[str]:
        text = (folder / "recipe.toml").read_text()
        assert old in text
        (folder / "recipe.toml").write_text(text.replace(old, new))
        return []

    return spoil


def _labels(*values: int) -> Callable[[Path], list[str]]:
    def spoil(folder: Path) -> list[str]:
        images = np.zeros((8, 32, 32, 3), np.uint8)
        np.savez(folder / "validation.npz", images=images, labels=np.resize(values, 8))
        return []

    return spoil


def _no_labels(folder: Path) -> list[str]:
    np.savez(folder / "training.npz", images=np.zeros((8, 32, 32, 3), np.uint8))
    return []


def _class_folders(count: int) -> Callable[[Path], list[str]]:
    def spoil(folder: Path) -> list[str]:
        for split in ("train", "val"):
            for i in range(count):
                (folder / split / f"class{i}").mkdir(parents=True)
                Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / split / f"class{i}" / "a.png")
        return ["--training", str(folder / "train"), "--validation", str(folder / "val")]

    return spoil


def _damaged_image(folder: Path) -> list[str]:
    given = _class_folders(10)(folder)
    (folder / "train" / "class3" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return [*given, "--workers", "1"]


def _damaged_archive(folder: Path) -> list[str]:
    (folder / "training.npz").write_bytes((folder / "training.npz").read_bytes()[:2000])
    return []


def _options(*options: str) -> Callable[[Path], list[str]]:
    return lambda folder: [option.format(folder) for option in options]


def _occupied(folder: Path) -> list[str]:
    (folder / "out" / "checkpoint").mkdir(parents=True)
    (folder / "out" / "checkpoint" / "thesis.tex").write_text("irreplaceable")
    return []


def test_full_memory_is_one_clear_error(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee the documentation")

    monkeypatch.setattr(TrainingStep, "forward", full)
    with pytest.raises(OutOfResource, match="memory is full") as caught:
        train(image_recipe(images), "", tmp_path / "a", quiet, RunOptions(Accelerator.CPU))
    assert "optimizer.accumulate" in str(caught.value) and "documentation" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "code", "message"),
    [
        (_replace("batch = 4", "batch = 9"), 2, "optimizer.batch is 9, and there are 8 training images"),
        (_replace("batch = 4", "batch = 4\naccumulate = 3"), 2, "recipe.toml: optimizer.accumulate must divide"),
        (_replace("batch = 4", 'batch = 4\nschedule = "step"'), 2, "recipe.toml: optimizer.milestones are for"),
        (
            _replace("batch = 4", "batch = 4\nmilestones = [1, true]"),
            2,
            "optimizer.milestones[1] must be a number, and is",
        ),
        (
            _replace("batch = 4", 'batch = 4\nprecise_batch_norm = 1\n[initial]\ntrainable = "head"'),
            2,
            "optimizer.precise_batch_norm changes the norms",
        ),
        (_replace("batch = 4", "batch = 4\nlearning_rate = inf"), 2, "optimizer.learning_rate must be finite"),
        (_replace("batch = 4", "batch = 4\nbatchs = 4"), 2, "hint: did you mean optimizer.batch?"),
        (_replace("batch = 4", "batch = 4\n[perceptual_los]\nweight = 1"), 2, "perceptual_los is not a field"),
        (_replace("batch = 4", "batch = 4\n[augmentation]\ncrop_area = [0.5]"), 2, "crop_area must have 2 numbers"),
        (_replace("batch = 4", "batch = 4\n[augmentation]\nhue = 0.7"), 2, "augmentation.hue must be at most 0.5"),
        (_replace("aa-cifar-resnet20", "aa-cifar-resnet21"), 2, "hint: did you mean aa-cifar-resnet20?"),
        (_replace("width = 4", "widht = 4"), 2, "aa-cifar-resnet20 has no argument widht"),
        (_replace("training.npz", "absent.npz"), 2, "there is no such data"),
        (_labels(0, 10), 2, "the labels are 0 to 10, and the network has classes 0 to 9"),
        (_labels(-1, 3), 2, "the labels are -1 to 3, and the network has classes 0 to 9"),
        (_no_labels, 2, "need labels"),
        (_class_folders(7), 2, "the data has 7 classes, and the network 10"),
        (_damaged_image, 2, "cannot read image"),
        (_damaged_archive, 2, "cannot read"),
        (_options("--teacher", "{0}/absent"), 2, "the checkpoint's config is missing"),
        (_options("--initial", "{0}/absent"), 2, "the checkpoint's config is missing"),
        (_options("--devices", "3", "--accelerator", "cpu"), 2, "3 processes and 1 parts do not divide"),
        (_options("--accelerator", "quantum"), 2, "Invalid value"),
        (_options("--accelerator", "cuda"), 5, "1 devices of cuda are not here"),
        (_options("--devices", "0"), 2, "Invalid value"),
        (_options("--workers", "-1"), 2, "Invalid value"),
        (_options("--log", "{0}/recipe.toml/log"), 2, "cannot write"),
        (_occupied, 2, "exists and is not a checkpoint"),
    ],
)
def test_a_fault_is_one_clear_error(
    spoil: Callable[[Path], list[str]],
    code: int,
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if message.startswith("1 devices of cuda") and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    options = spoil(folder)
    output = folder / "out" / "checkpoint"
    before = sorted(output.parent.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(["train", str(folder / "recipe.toml"), "-o", str(output), *options])
    error_text = capsys.readouterr().err
    assert ended.value.code == code, error_text
    assert message in error_text and "Traceback" not in error_text and error_text.count("error:") <= 1
    assert sorted(output.parent.rglob("*")) == before
