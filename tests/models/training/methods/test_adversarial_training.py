"""Adversarial training shows the network attacked images, and robustness measures what is left of its accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.data.pixels import Pixels
from adroit.models.data.preprocessing import CIFAR10
from adroit.models.metrics.adversarial import Attack, attacked, fgsm, right_under, robust_accuracy
from adroit.models.metrics.square_attack import SquareAttack, square_attacked
from adroit.models.networks.architectures import build_network
from adroit.models.training.methods.adversarial_training import METHOD, Settings
from adroit.models.training.methods.base import Setup
from adroit.models.training.tables import InitialRecipe
from adroit.models.training.tasks import task_of
from tests.models.training.methods.recipes import NETWORK, tiny, trained


@pytest.mark.parametrize("norms", ["running", "batch"])
def test_inputs_are_attacked_and_the_network_is_left_as_it_was(images: Path, norms: str) -> None:
    recipe = tiny(images, {})
    task = task_of(recipe)
    torch.manual_seed(0)
    network = build_network("wide-resnet", NETWORK).train()
    network.get_submodule("layer1").eval()
    modes = [module.training for module in network.modules()]
    before = {name: t.clone() for name, t in network.state_dict().items()}
    method = METHOD(Settings(epsilon=4.0, step=2.0, steps=3, norms=norms), Setup(recipe, task, network, None))
    x, y = (torch.stack(part) for part in zip(*(task.sample(i, torch.Generator()) for i in range(12)), strict=True))
    hostile = method.inputs(network, x, y)
    assert [module.training for module in network.modules()] == modes
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before) == (norms == "running")
    changes = (hostile - x).abs() / Pixels(CIFAR10).unit
    assert 3.5 < float(changes.max()) <= 4.001
    network.eval()
    with torch.no_grad():
        assert functional.cross_entropy(network(hostile), y) > functional.cross_entropy(network(x), y)


def test_the_loss_that_is_learnt_is_of_attacked_images(images: Path, tmp_path: Path) -> None:
    """The same training with an attack of distance 0 sees another loss."""
    losses = []
    from adroit.models.training.loop import train

    for epsilon in (0.0, 16.0):
        recipe = tiny(images, {"adversarial_training": {"epsilon": epsilon, "step": 8.0, "steps": 3}})
        still = replace(recipe, optimizer=replace(recipe.optimizer, learning_rate=0.0))
        train(still, "", tmp_path / str(epsilon), lambda epoch: losses.append(epoch.loss))
    assert losses[1] > losses[0]


def test_figures_are_the_metrics_of_the_checkpoint(images: Path, tmp_path: Path) -> None:
    settings = {"epsilon": 4.0, "step": 1.0, "steps": (2, 5)}
    recipe = replace(tiny(images, {"robustness": settings}), seed=3)
    result = trained(recipe, tmp_path / "a")
    network, config = load_checkpoint(tmp_path / "a")
    task = task_of(recipe)
    batches = list(task.labeled_held_out())
    assert sum(len(y) for _, y in batches) == 12
    attacks = {"fgsm_accuracy": fgsm(4.0), "pgd2_accuracy": Attack(4.0, 1.0, 2), "pgd5_accuracy": Attack(4.0, 1.0, 5)}
    assert set(result.figures) == {*attacks, "worst_accuracy"}
    assert result.figures["worst_accuracy"] <= min(result.figures[name] for name in attacks)
    for name, attack in attacks.items():
        expected = 100.0 * robust_accuracy(network, batches, attack, Pixels(config.preprocessing), seed=3)
        assert result.figures[name] == config.source[name] == pytest.approx(expected)


def test_doubts_about_robustness_are_measured_where_asked(images: Path, tmp_path: Path) -> None:
    """By the metrics themselves: restarts, the Square attack, all attacks together, and a large distance."""
    settings = {"epsilon": 3.0, "step": 1.0, "steps": (2,), "restarts": 2, "queries": 7, "large_epsilon": 60.0}
    result = trained(tiny(images, {"robustness": settings}), tmp_path / "a").figures
    network, config = load_checkpoint(tmp_path / "a")
    batches, pixels = list(task_of(tiny(images, {})).labeled_held_out()), Pixels(config.preprocessing)

    def squares(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        return square_attacked(network, x, y, SquareAttack(3.0, 7), pixels, generator)

    def steps(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        return attacked(network, x, y, Attack(3.0, 1.0, 2), pixels, generator)

    def sign(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        return attacked(network, x, y, fgsm(3.0), pixels, generator)

    left = {
        "fgsm": right_under(network, batches, sign),
        "pgd2": right_under(network, batches, steps, restarts=2),
        "square": right_under(network, batches, squares),
    }
    left["worst"] = left["fgsm"] & left["pgd2"] & left["square"]
    expected = {f"{name}_accuracy": 100.0 * float(one.double().mean()) for name, one in left.items()}
    large = robust_accuracy(network, batches, Attack(60.0, 6.0, 2), pixels)
    assert result == pytest.approx({**expected, "large_pgd_accuracy": 100.0 * large})


def test_a_robust_network_gets_a_new_logit_layer_and_keeps_the_rest(images: Path, robust: Path, tmp_path: Path) -> None:
    recipe = tiny(images, {}, initial=InitialRecipe(str(robust), "new", "head"))
    trained(recipe, tmp_path / "a")
    before, after = (load_checkpoint(p)[0].state_dict() for p in (robust, tmp_path / "a"))
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"fc.weight", "fc.bias"}


def test_what_has_no_labels_of_images_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="robustness is measured where images have labels"):
        trained(tiny(images, {"rotnet": {}, "robustness": {}}, classes=4), tmp_path / "a")
