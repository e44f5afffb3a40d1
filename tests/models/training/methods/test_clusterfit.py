"""ClusterFit teaches the clusters of the teacher's features of the clean images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.networks.architectures import build_network
from adroit.models.training.initial import read_teacher
from adroit.models.training.methods.clusterfit import METHOD, Settings, reduced
from adroit.models.training.tables import AugmentationRecipe
from adroit.models.training.tasks import task_of
from tests.models.training.methods.recipes import tiny, trained


def test_pseudo_labels_are_clusters_of_normalized_features_of_clean_images(images: Path, rotnet: Path) -> None:
    """Checked against k-means by hand: no image is nearer to the mean of another cluster than to its own's."""
    recipe = replace(tiny(images, {}), augmentation=AugmentationRecipe(flip=True, shift=4))
    inner = task_of(recipe)
    task = METHOD.task(Settings(clusters=3), inner, recipe, read_teacher(str(rotnet)))
    network, _ = load_checkpoint(rotnet)
    features: list[torch.Tensor] = []
    network.get_submodule("fc").register_forward_hook(lambda _, given, __: features.append(given[0]))
    with torch.no_grad():
        network(torch.cat(list(inner.training_inputs())))
    unit = features[0] / features[0].norm(dim=1, keepdim=True)
    labels = torch.stack([task.sample(i, torch.Generator())[1] for i in range(len(task))])
    assert sorted(set(labels.tolist())) == [0, 1, 2]
    means = torch.stack([unit[labels == i].mean(0) for i in range(3)])
    assert torch.equal(torch.cdist(unit, means).argmin(1), labels)
    assert torch.equal(task.held_out_clusters, labels), "here the held-out images are the training images"


def test_the_measure_counts_the_held_out_images_clusters(images: Path, rotnet: Path) -> None:
    recipe = tiny(images, {})
    task = METHOD.task(Settings(clusters=3), task_of(recipe), recipe, read_teacher(str(rotnet)))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 3))
    torch.nn.init.zeros_(network[1].weight)
    network[1].bias.data = torch.tensor([0.0, 1.0, 0.0])
    assert task.evaluate(network) == pytest.approx(float((task.held_out_clusters == 1).double().mean()))


def test_principal_components_are_of_the_training_features() -> None:
    generator = torch.Generator().manual_seed(0)
    training = torch.randn(50, 6, generator=generator) * torch.tensor([9.0, 5.0, 1.0, 0.1, 0.1, 0.1])
    first, second = reduced(training, training[:5], 2, 0)
    assert first.shape == (50, 2)
    torch.testing.assert_close(second, first[:5], rtol=1e-4, atol=1e-4)
    centered = training - training.mean(0)
    values = torch.linalg.svd(centered).S[:2]
    torch.testing.assert_close(first.norm(dim=0), values, rtol=1e-4, atol=1e-4)
    assert reduced(training, training, 0, 0)[0] is training
    with pytest.raises(UsageError, match="no 7 principal components"):
        reduced(training, training, 7, 0)


def test_training_begins_from_scratch_and_ends_in_a_checkpoint(images: Path, rotnet: Path, tmp_path: Path) -> None:
    recipe = tiny(images, {"clusterfit": {"clusters": 3}}, classes=3, teacher=str(rotnet))
    trained(recipe, tmp_path / "a")
    network, config = load_checkpoint(tmp_path / "a")
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3) and list(config.labels)[2] == "cluster 2"
    still = replace(recipe, optimizer=replace(recipe.optimizer, learning_rate=0.0, weight_decay=0.0))
    trained(still, tmp_path / "still")
    torch.manual_seed(recipe.seed)
    fresh = build_network("wide-resnet", recipe.arguments).state_dict()
    still_there, teacher = (load_checkpoint(p)[0].state_dict() for p in (tmp_path / "still", rotnet))
    assert torch.equal(still_there["conv1.weight"], fresh["conv1.weight"])
    assert not torch.equal(teacher["conv1.weight"], fresh["conv1.weight"])


def test_what_is_missing_or_impossible_is_told(images: Path, rotnet: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="clusterfit needs a teacher: the pretrained network") as caught:
        trained(tiny(images, {"clusterfit": {"clusters": 3}}, classes=3), tmp_path / "a")
    assert "--teacher" in str(caught.value)
    with pytest.raises(UsageError, match="12 features cannot make 40 clusters"):
        trained(tiny(images, {"clusterfit": {"clusters": 40}}, classes=40, teacher=str(rotnet)), tmp_path / "a")
    with pytest.raises(UsageError, match="there are 3 classes to be learnt, and the network has 10"):
        trained(tiny(images, {"clusterfit": {"clusters": 3}}, teacher=str(rotnet)), tmp_path / "a")
    assert not (tmp_path / "a").exists()
