"""IGAM's terms as the loop adds them, the discriminator's own steps, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.networks.architectures import build_network
from adroit.models.training.initial import read_teacher
from adroit.models.training.loop import train
from adroit.models.training.methods.base import Setup, Step
from adroit.models.training.methods.igam import METHOD, Igam, Settings
from adroit.models.training.options import Accelerator, RunOptions
from adroit.models.training.recipe import read_recipe
from adroit.models.training.tables import OptimizerRecipe
from adroit.models.training.tasks import task_of
from tests.models.training.methods.recipes import NETWORK, tiny, trained
from tests.models.training.test_processes import run

SMALL = {"discriminator_layers": 3, "discriminator_base": 4}


def made(images: Path, robust: Path, **settings: Any) -> tuple[Igam, torch.nn.Module, Tensor, Tensor]:
    """The method, its student in training mode, and a batch."""
    recipe = tiny(images, {}, teacher=str(robust), optimizer=OptimizerRecipe(1, 6, 0.01))
    task = task_of(recipe)
    torch.manual_seed(1)
    student = build_network("wide-resnet", NETWORK).train()
    method = METHOD(Settings(**SMALL, **settings), Setup(recipe, task, student, read_teacher(str(robust))))
    x, y = (torch.stack(part) for part in zip(*(task.sample(i, torch.Generator()) for i in range(6)), strict=True))
    return method, student, x, y


def step_of(method: Igam, student: torch.nn.Module, x: Tensor, y: Tensor, progress: float = 1.0) -> Step:
    seen = method.inputs(student, x, y)
    return Step(seen, y, student(seen), progress)


@pytest.mark.parametrize(("gradient", "difference"), [("loss", "mean"), ("probability", "sum")])
def test_the_loss_is_the_formula_in_float64(images: Path, robust: Path, gradient: str, difference: str) -> None:
    """gamma |J_s - J_t|^2 - beta CE_D, each input gradient taken image by image; the paper's and the code's form."""
    settings = {"gradient": gradient, "difference": difference, "beta": 3.0, "gamma": 500.0, "start": 0.0}
    method, student, x, y = made(images, robust, **settings)
    student.eval()  # so that images do not depend on each other
    result = method.loss(step_of(method, student, x, y))
    assert result is not None
    unit = 1.0 / (255.0 * torch.tensor([0.2023, 0.1994, 0.2010], dtype=torch.float64))[:, None, None]
    teacher, _ = load_checkpoint(robust)
    gradients = []
    for network in (student.double(), teacher.double()):
        for image, label in zip(x.double(), y, strict=True):
            one = image[None].clone().requires_grad_()
            logits = network(one)[0]
            value = -logits.log_softmax(0)[label] if gradient == "loss" else logits.softmax(0)[label]
            gradients.append(torch.autograd.grad(value, one)[0][0] * unit)
    j = torch.stack(gradients)
    squares = (j[:6] - j[6:]).square().sum((1, 2, 3))
    centered = j.flatten(1) - j.flatten(1).mean(1, keepdim=True)
    logits = method.discriminator.double()((centered / centered.norm(dim=1, keepdim=True)).view_as(j))
    discriminated = functional.cross_entropy(logits, torch.tensor([0] * 6 + [1] * 6))
    expected = 500.0 * (squares.mean() if difference == "mean" else squares.sum()) - 3.0 * discriminated
    assert float(result.detach()) == pytest.approx(float(expected.detach()), rel=1e-3)


def test_epsilon_and_floor_are_settings(images: Path, robust: Path) -> None:
    losses = set()
    for more in ({}, {"discriminator_epsilon": 1e-5}, {"gradient_floor": 1.0}):
        method, student, x, y = made(images, robust, start=0.0, gamma=0.0, **more)
        loss = method.loss(step_of(method, student, x, y))
        assert loss is not None
        losses.add(float(loss.detach()))
    assert len(losses) == 3


def test_both_terms_are_off_before_their_start(images: Path, robust: Path) -> None:
    method, student, x, y = made(images, robust)
    before = {name: t.clone() for name, t in method.state_dict().items()}
    step = step_of(method, student, x, y, progress=0.874)
    assert method.loss(step) is None
    method.after_step(step)
    assert all(torch.equal(before[name], t) for name, t in method.state_dict().items())
    assert method.loss(step_of(method, student, x, y, progress=0.875)) is not None


def test_the_students_step_leaves_the_discriminator_and_the_teacher_alone(images: Path, robust: Path) -> None:
    method, student, x, y = made(images, robust, start=0.0)
    loss = method.loss(step_of(method, student, x, y))
    assert loss is not None
    loss.backward()
    assert all(p.grad is None for p in method.parameters()) and method.parameter_groups(tiny(images, {})) == []
    gradients = [p.grad for name, p in student.named_parameters() if name.startswith("conv1")]
    assert all(g is not None and bool(g.any()) for g in gradients), "by second-order gradients"


def test_the_discriminator_learns_in_one_of_so_many_steps_and_gets_better(images: Path, robust: Path) -> None:
    method, student, x, y = made(images, robust, start=0.0, discriminator_every=3, discriminator_rate=0.05)
    losses, changed = [], []
    for _ in range(60):
        before = method.discriminator.fc.weight.clone()
        step = step_of(method, student, x, y, progress=0.0)
        method.loss(step)
        assert method._gradients is not None
        from adroit.models.losses.input_gradients import discriminator_loss

        losses.append(float(discriminator_loss(method.discriminator, *method._gradients)))
        method.after_step(step)
        changed.append(not torch.equal(before, method.discriminator.fc.weight))
    assert changed == [i % 3 == 0 for i in range(60)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:3])


def test_noise_is_within_its_reach_and_among_pixel_values(images: Path, robust: Path) -> None:
    method, student, x, y = made(images, robust, noise=8.0)
    pixels = method._pixels
    x[0] = pixels.high
    noisy = method.inputs(student, x, y)
    change = (noisy.detach() - x).abs() / pixels.unit
    assert 7.0 < float(change.max()) <= 8.001 and noisy.requires_grad
    assert bool((noisy <= pixels.high).all()) and bool((noisy >= pixels.low).all())


@pytest.mark.parametrize(("matching", "side"), [("resize", 48), ("pad", 40), ("crop", 24)])
def test_a_teacher_of_another_size_gives_gradients_of_the_students(
    images: Path, robust: Path, tmp_path: Path, matching: str, side: int
) -> None:
    """A checkpoint whose preprocessing has another size stands for a teacher of larger or smaller images."""
    from adroit.models.checkpoints.checkpoint import save_checkpoint

    network, config = load_checkpoint(robust)
    save_checkpoint(
        tmp_path / "t", network, replace(config, preprocessing=replace(config.preprocessing, resize=(side, side)))
    )
    recipe = tiny(images, {"igam": {**SMALL, "start": 0.0, "matching": matching}}, teacher=str(tmp_path / "t"))
    trained(recipe, tmp_path / "student")
    assert load_checkpoint(tmp_path / "student")[1].preprocessing.size == (32, 32)


def test_a_training_is_repeatable_and_differs_from_a_plain_one(images: Path, robust: Path, tmp_path: Path) -> None:
    recipe = tiny(images, {"igam": {**SMALL, "start": 0.5, "noise": 8.0}}, teacher=str(robust))
    plain = tiny(images, {})
    for name, one in (("a", recipe), ("b", recipe), ("plain", plain)):
        trained(one, tmp_path / name)
    a, b, other = (load_checkpoint(tmp_path / name)[0].state_dict() for name in ("a", "b", "plain"))
    assert all(torch.equal(a[name], b[name]) for name in a) and set(a) == set(other)
    assert not torch.equal(a["conv1.weight"], other["conv1.weight"])


TWO = """
architecture = "wide-resnet"
teacher = "{teacher}"
[arguments]
depth = 10
widen = 1
stem_stride = 2
[data]
training = "{images}"
validation = "{images}"
[optimizer]
epochs = 1
batch = 4
learning_rate = 0.01
[igam]
start = 0.0
beta = 5.0
gamma = 100.0
difference = "sum"
discriminator_layers = 3
discriminator_base = 4
discriminator_every = 1
"""


@pytest.mark.timeout(600)
def test_two_processes_match_gradients_as_one(images: Path, robust: Path, tmp_path: Path) -> None:
    """Three steps of student and discriminator, whose norms see both processes' images also in second-order gradients.

    The same but for rounding: every tensor moves alike.
    """
    path = tmp_path / "recipe.toml"
    path.write_text(TWO.format(teacher=robust, images=images))
    done = run(path, tmp_path / "two", 2)
    assert done.returncode == 0, done.stderr
    recipe, text = read_recipe(str(path))
    train(recipe, text, tmp_path / "one", lambda _: None, RunOptions(Accelerator.CPU))
    one, two = (load_checkpoint(tmp_path / name)[0].state_dict() for name in ("one", "two"))
    torch.manual_seed(recipe.seed)
    begun = build_network(recipe.architecture, recipe.arguments).state_dict()
    for name, tensor in one.items():
        moved = (tensor - begun[name]).double()
        assert moved.norm() > 0, name
        assert ((two[name] - begun[name]).double() - moved).norm() < 1e-3 * moved.norm(), name


def test_what_does_not_fit_is_told(images: Path, robust: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="igam needs a teacher: a robust network"):
        trained(tiny(images, {"igam": SMALL}), tmp_path / "a")
    fewer = tmp_path / "fewer.npz"
    with np.load(images) as archive:
        np.savez(fewer, images=archive["images"], labels=archive["labels"] % 3)
    with pytest.raises(UsageError, match="discriminator of 6 layers takes sides of at least 64 pixels"):
        trained(tiny(images, {"igam": {"discriminator_layers": 6}}, teacher=str(robust)), tmp_path / "a")
    with pytest.raises(UsageError, match="32 x 32 pixels cannot become 24 x 24 by a pad"):
        from adroit.models.training.methods.size_matching import match_size

        match_size(torch.zeros(1, 3, 32, 32), (24, 24), "pad")
    with pytest.raises(UsageError, match="the teacher has 10 classes, and the student 3") as caught:
        trained(tiny(fewer, {"igam": SMALL}, classes=3, teacher=str(robust)), tmp_path / "a")
    assert "logit layer" in str(caught.value)
    assert os.listdir(tmp_path) == ["fewer.npz"]
