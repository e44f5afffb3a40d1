"""BoWNet teaches, from augmented images, the bags of words of the clean ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from torch.nn import functional
from torch.nn.utils import parametrize

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.networks.architectures import build_network
from adroit.models.training.initial import read_teacher
from adroit.models.training.methods.base import Setup
from adroit.models.training.methods.bownet import METHOD, Settings
from adroit.models.training.tables import AugmentationRecipe
from adroit.models.training.tasks import task_of
from tests.models.training.methods.recipes import NETWORK, tiny, trained

PERTURBED = AugmentationRecipe(crop_area=(0.3, 1.0), flip=True, brightness=0.4, hue=0.1, gray=0.5)


def test_targets_are_the_bags_of_the_clean_image_whatever_the_perturbation(images: Path, rotnet: Path) -> None:
    recipe = replace(tiny(images, {}), augmentation=PERTURBED)
    inner = task_of(recipe)
    task = METHOD.task(Settings(words=6, layer="layer2"), inner, recipe, read_teacher(str(rotnet)))
    one, y = task.sample(3, torch.Generator().manual_seed(0))
    other, same = task.sample(3, torch.Generator().manual_seed(1))
    assert torch.equal(y, same) and not torch.equal(one, other)
    assert y.shape == (6,) and float(y.sum()) == pytest.approx(1.0)
    counts = torch.bincount(task.words[3].long(), minlength=6)
    assert task.words.shape == (12, 64), "maps of layer2 are 8 x 8"
    torch.testing.assert_close(y, counts / 64.0)
    binary = METHOD.task(Settings(words=6, layer="layer2", binary=True), inner, recipe, read_teacher(str(rotnet)))
    torch.testing.assert_close(binary.sample(3, torch.Generator())[1], (counts > 0) / (counts > 0).sum())


def test_cutmix_mixes_images_and_bags_by_the_area(images: Path, rotnet: Path) -> None:
    """Where nothing else is perturbed: every mixed pixel is one of two training images', the bag their mean."""
    recipe = tiny(images, {})
    inner = task_of(recipe)
    teacher, generator = read_teacher(str(rotnet)), torch.Generator().manual_seed(0)
    clean = METHOD.task(Settings(words=6, layer="layer2"), inner, recipe, teacher)
    pairs = [clean.sample(index, generator) for index in range(len(clean))]
    result = []
    for share in (0.0, 0.5, 1.0):
        task = METHOD.task(Settings(words=6, layer="layer2", cutmix=share), inner, recipe, teacher)
        untouched = 0
        for _ in range(40):
            x, y = task.sample(3, generator)
            untouched += torch.equal(x, pairs[3][0])
            foreign = (x != pairs[3][0]).any(0)
            other = max(range(12), key=lambda i: int((x == pairs[i][0]).all(0)[foreign].sum()))
            assert bool(((x == pairs[3][0]) | (x == pairs[other][0])).all(0).all())
            by_area = (foreign.sum() * pairs[other][1] + (~foreign).sum() * pairs[3][1]) / foreign.numel()
            torch.testing.assert_close(y, by_area, atol=3e-3, rtol=0)  # a few pixels may be alike in both
        result.append(untouched)
    assert result[0] == 40 and 8 < result[1] < 36 and result[2] < 16, "the other may be the image itself"


def test_words_are_nearest_to_the_mean_of_their_locations(images: Path, rotnet: Path) -> None:
    """k-means' own condition, of maps that are taken from the teacher by hand."""
    recipe = tiny(images, {})
    inner = task_of(recipe)
    settings = Settings(words=4, layer="layer3", algorithm="lloyd", iterations=300)
    task = METHOD.task(settings, inner, recipe, read_teacher(str(rotnet)))
    network, _ = load_checkpoint(rotnet)
    maps: list[torch.Tensor] = []
    network.get_submodule("layer3").register_forward_hook(lambda _, __, made: maps.append(made))
    with torch.no_grad():
        network(torch.cat(list(inner.training_inputs())))
    vectors = maps[0].flatten(2).transpose(1, 2).flatten(0, 1)
    words = task.words.flatten().long()
    means = torch.stack([vectors[words == word].mean(0) for word in range(4)])
    assert float((torch.cdist(vectors, means).argmin(1) == words).double().mean()) > 0.99


def test_the_head_is_a_scaled_cosine_while_it_learns_and_an_ordinary_layer_after(images: Path) -> None:
    recipe = tiny(images, {})
    torch.manual_seed(0)
    network = build_network("wide-resnet", {**NETWORK, "classes": 7})
    method = METHOD(Settings(words=7, scale=3.0), Setup(recipe, task_of(recipe), network, None))
    fc = network.get_submodule("fc")
    norms = fc.weight.norm(dim=1)
    torch.testing.assert_close(norms, torch.full((7,), 3.0))
    assert not fc.bias.any() and not fc.bias.requires_grad
    assert any(name.endswith("scale") for name, p in network.named_parameters() if p.requires_grad)
    x = torch.randn(2, 3, 32, 32)
    network.eval()
    before = network(x)
    method.finish(network)
    assert not parametrize.is_parametrized(network.get_submodule("fc"))
    torch.testing.assert_close(network(x), before)
    assert set(network.state_dict()) == set(build_network("wide-resnet", NETWORK).state_dict())


def test_the_loss_is_cross_entropy_of_shares(images: Path, rotnet: Path, tmp_path: Path) -> None:
    """With a learning rate of 0, the loss that is reported is of the network as it began."""
    recipe = tiny(images, {"bownet": {"words": 6}}, classes=6, teacher=str(rotnet))
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, batch=12, learning_rate=0.0, weight_decay=0.0))
    epochs = []
    from adroit.models.training.loop import train

    train(recipe, "", tmp_path / "a", epochs.append)
    network, config = load_checkpoint(tmp_path / "a")
    task = METHOD.task(Settings(words=6), task_of(recipe), recipe, read_teacher(str(rotnet)))
    x, y = (torch.stack(part) for part in zip(*(task.sample(i, torch.Generator()) for i in range(12)), strict=True))
    network.train()
    logits = network(x).double()
    by_hand = -(y.double() * functional.log_softmax(logits, 1)).sum(1).mean()
    assert epochs[0].loss == pytest.approx(float(by_hand.detach()), rel=1e-5)
    assert list(config.labels)[5] == "word 5"


def test_a_bownet_can_be_the_next_ones_teacher(images: Path, rotnet: Path, tmp_path: Path) -> None:
    first = tiny(images, {"bownet": {"words": 6}}, classes=6, teacher=str(rotnet))
    trained(first, tmp_path / "one")
    trained(replace(first, teacher=str(tmp_path / "one")), tmp_path / "two")
    one, two = (load_checkpoint(tmp_path / name)[1] for name in ("one", "two"))
    assert one.source["teacher"]["sha256"] != two.source["teacher"]["sha256"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": 6, "layer": "layer9"}, "no layer named 'layer9'"),
        ({"words": 6, "layer": "fc"}, "'fc' makes no feature maps"),
        ({"words": 800, "layer": "layer3"}, "192 features cannot make 800 clusters"),
    ],
)
def test_impossible_vocabularies_are_refused(
    images: Path, rotnet: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        trained(tiny(images, {"bownet": settings}, classes=6, teacher=str(rotnet)), tmp_path / "a")
