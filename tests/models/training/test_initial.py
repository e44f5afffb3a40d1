"""Weights to begin with: whole, without the head, as a backbone, frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from adroit.errors import UnsupportedModel, UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.networks.architectures import build_network
from adroit.models.training.initial import apply_initial, head_tensors, read_teacher
from adroit.models.training.loop import train
from adroit.models.training.tables import InitialRecipe, Recipe
from tests.conftest import make_checkpoint
from tests.models.training.conftest import image_recipe, quiet


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("aa-cifar-resnet20", {"fc.weight", "fc.bias"}),
        ("dynamic-small", {"sem_seg_head.predictor.weight", "sem_seg_head.predictor.bias"}),
        (
            "adder-resnet20",
            {"fc.weight", "bn2.weight", "bn2.bias", "bn2.running_mean", "bn2.running_var"},
        ),
    ],
)
def test_the_head_is_what_follows_the_classes(architecture: str, head: set[str]) -> None:
    before = torch.get_rng_state()
    assert head_tensors(architecture, {}) == head
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A network of four classes."""
    return make_checkpoint(tmp_path / "begun", "aa-cifar-resnet20", (32, 32), classes=4, width=4, filter="none")


@pytest.mark.parametrize(("head", "classes"), [("new", 10), ("new", 4), ("kept", 4)])
def test_a_training_begins_with_given_weights(begun: Path, head: str, classes: int) -> None:
    arguments = {"classes": classes, "width": 4, "filter": "none"}
    network = build_network("aa-cifar-resnet20", arguments)
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    given = load_checkpoint(begun)[0].state_dict()
    apply_initial(network, "aa-cifar-resnet20", arguments, InitialRecipe(str(begun), head))
    for name, tensor in network.state_dict().items():
        kept = head == "kept" or not name.startswith("fc.")
        assert torch.equal(tensor, given[name] if kept else fresh[name])


def test_a_head_of_other_classes_cannot_be_kept(begun: Path) -> None:
    network = build_network("aa-cifar-resnet20", {"width": 4, "filter": "none"})
    with pytest.raises(UnsupportedModel, match="2 tensors differ"):
        apply_initial(network, "aa-cifar-resnet20", {"width": 4, "filter": "none"}, InitialRecipe(str(begun), "kept"))


def test_another_architecture_is_refused(begun: Path) -> None:
    with pytest.raises(UsageError, match="is of aa-cifar-resnet20, the recipe of adder-lenet5-bn"):
        apply_initial(build_network("adder-lenet5-bn"), "adder-lenet5-bn", {}, InitialRecipe(str(begun)))


def test_a_classifier_becomes_a_backbone(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "resnet", "aa-resnet101", (64, 64), classes=2, groups=2)
    network = build_network("aa-deeplabv3plus-resnet101")
    apply_initial(network, "aa-deeplabv3plus-resnet101", {}, InitialRecipe(str(folder)))
    given, own = load_checkpoint(folder)[0].state_dict(), network.state_dict()
    below = [name for name in own if name.startswith("backbone.")]
    assert below and all(torch.equal(own[name], given[name.removeprefix("backbone.")]) for name in below)


def linear_probe(images: Path, begun: Path) -> Recipe:
    initial = InitialRecipe(str(begun), trainable="head")
    return replace(image_recipe(images, precise_batch_norm=0), initial=initial)


def test_only_the_head_is_trained_and_norms_keep_still(images: Path, begun: Path, tmp_path: Path) -> None:
    train(linear_probe(images, begun), "", tmp_path / "probe", quiet)
    before, (network, config) = load_checkpoint(begun)[0].state_dict(), load_checkpoint(tmp_path / "probe")
    for name, tensor in network.state_dict().items():
        assert name.startswith("fc.") or torch.equal(tensor, before[name]), name
    assert not np.allclose(network.state_dict()["fc.weight"].numpy(), 0)
    assert config.source["initial"]["folder"] == str(begun)
    assert len(config.source["initial"]["sha256"]) == 64


def test_a_teacher_is_frozen(begun: Path) -> None:
    teacher = read_teacher(str(begun))
    assert teacher is not None and not teacher.network.training
    assert not any(p.requires_grad for p in teacher.network.parameters())
    assert teacher.config.arguments["classes"] == 4
    assert read_teacher("") is None
