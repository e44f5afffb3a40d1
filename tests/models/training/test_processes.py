"""Several processes compute what one computes for the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from adroit.errors import UsageError
from adroit.models.layers.adder import AdderConv2d
from adroit.models.networks.architectures import build_network
from adroit.models.training.adder_gradients import defer_normalization, normalize_step
from adroit.models.training.device import division_of
from adroit.models.training.learner import Learner
from adroit.models.training.loop import train
from adroit.models.training.options import Accelerator, RunOptions
from adroit.models.training.recipe import read_recipe
from adroit.models.training.step import TrainingStep
from adroit.models.training.synchronized_norm import synchronize_norms
from adroit.models.training.tables import OptimizerRecipe
from tests.conftest import ROOT
from tests.models.training.conftest import HEIGHT, WIDTH, quiet

RECIPE = """
architecture = "{architecture}"
[arguments]
{arguments}
[data]
{data}
[optimizer]
epochs = 1
batch = {batch}
learning_rate = 0.01
{optimizer}
[augmentation]
{augmentation}
"""


def run(recipe: Path, folder: Path, processes: int) -> subprocess.CompletedProcess[str]:
    """A training by the installed command, which starts the other processes itself."""
    command = Path(sys.executable).with_name("adroit")
    if not command.exists():
        pytest.skip("the command adroit is not installed beside this Python")
    options = ["--devices", str(processes), "--accelerator", "cpu", "--threads", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "LOCAL_RANK"}
    return subprocess.run(
        [command, "train", recipe, "-o", folder, *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )


@pytest.mark.timeout(1200)
def test_two_processes_step_as_one(images: Path, tmp_path: Path) -> None:
    """A step of adder layers and batch norms moves every tensor alike, but for rounding."""
    path = tmp_path / "recipe.toml"
    data = f'training = "{images}"\nvalidation = "{images}"'
    names = {"architecture": "adder-lenet5-bn", "arguments": "", "data": data, "optimizer": "nesterov = true"}
    path.write_text(RECIPE.format(**names, batch=12, augmentation="shift = 2"))
    done = run(path, tmp_path / "two", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("of the images held out are right") == 1, "the second process speaks too"
    recipe, text = read_recipe(str(path))
    train(recipe, text, tmp_path / "one", quiet, RunOptions(Accelerator.CPU))
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    torch.manual_seed(recipe.seed)
    begun = build_network(recipe.architecture).state_dict()
    assert one.keys() == two.keys() == begun.keys()
    for name, tensor in one.items():
        moved = (tensor - begun[name]).double()
        assert moved.norm() > 0, name
        assert ((two[name] - begun[name]).double() - moved).norm() < 1e-3 * moved.norm(), name


@pytest.mark.timeout(1200)
def test_what_fails_in_one_process_is_told_once(camvid: Path, tmp_path: Path) -> None:
    """One label map of an epoch is wrong: only the process that reads it knows."""
    Image.fromarray(np.full((HEIGHT, WIDTH), 12, np.uint8)).save(camvid / "train" / "labels" / "3.png")
    recipe = tmp_path / "recipe.toml"
    names = {"architecture": "dynamic-small", "arguments": 'depth = 3\nwidth = 4\ngate = "normal"', "optimizer": ""}
    data = f'name = "camvid"\nfolder = "{camvid}"'
    recipe.write_text(RECIPE.format(**names, data=data, batch=6, augmentation="crop = [32, 64]"))
    done = run(recipe, tmp_path / "a", 2)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("error:") == 1 and "Traceback" not in done.stderr
    assert "3.png has values that are no class: 12" in done.stderr
    assert not (tmp_path / "a").exists() and not list(tmp_path.glob("*.safetensors"))


def _adder_gradient(parts: int, defer: bool) -> torch.Tensor:
    torch.manual_seed(0)
    layer = AdderConv2d(3, 4, 3)
    x, g = torch.randn(8, 3, 6, 6), torch.randn(8, 4, 4, 4)
    layers = defer_normalization(layer) if defer else []
    for own, gradient in zip(x.chunk(parts), g.chunk(parts), strict=True):
        layer(own).backward(gradient / parts)
    normalize_step(layers)
    assert layer.weight.grad is not None
    return layer.weight.grad


def test_parts_of_a_batch_give_an_adder_layer_the_whole_batchs_gradient() -> None:
    whole = _adder_gradient(1, defer=False)
    assert torch.equal(_adder_gradient(1, defer=True), whole)
    torch.testing.assert_close(_adder_gradient(4, defer=True), whole)
    assert (_adder_gradient(4, defer=False) - whole).norm() > 0.1 * whole.norm(), "why it is deferred"
    assert whole.norm() == pytest.approx(0.2 * whole.numel() ** 0.5, rel=1e-5)


def test_adder_gradients_do_not_depend_on_the_scale_of_the_loss() -> None:
    result = []
    for scale in (1e-3, 1.0, 1e3):
        torch.manual_seed(0)
        layer = AdderConv2d(3, 4, 3)
        layers = defer_normalization(layer)
        (scale * layer(torch.randn(2, 3, 5, 5)).sin().sum()).backward()
        normalize_step(layers)
        result.append(layer.weight.grad)
    torch.testing.assert_close(result[0], result[1])
    torch.testing.assert_close(result[2], result[1])


def test_parts_with_different_numbers_of_counted_pixels_give_the_mean_over_all() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 5, 1)
    learner = Learner(network, 11)
    x, y = torch.randn(4, 3, 6, 6), torch.randint(0, 5, (4, 6, 6))
    y[:2, 1:] = 11
    step = TrainingStep(learner, {})
    whole = step(x, y, 0.0, 1.0)[0]
    counts = [learner.counted(part) for part in y.chunk(2)]
    shares = [count / (sum(counts) / 2) for count in counts]
    parts = [step(*pair, 0.0, share)[0] for *pair, share in zip(x.chunk(2), y.chunk(2), shares, strict=True)]
    assert shares[0] != shares[1]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    assert division_of(OptimizerRecipe(1, 8, accumulate=2), 2, 1).own([(1, i) for i in range(8)]) == [
        [(1, 2), (1, 3)],
        [(1, 6), (1, 7)],
    ]
    with pytest.raises(UsageError, match="3 processes and 2 parts do not divide"):
        division_of(OptimizerRecipe(1, 8, accumulate=2), 3, 0)


def test_synchronized_norms_are_batch_norms_still() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    names = list(network.state_dict())
    x = torch.randn(2, 3, 4, 4)
    expected = network(x)
    synchronize_norms(network)
    assert isinstance(network[1], nn.BatchNorm2d) and list(network.state_dict()) == names
    torch.testing.assert_close(network(x), expected)
