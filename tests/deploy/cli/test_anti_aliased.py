"""An anti-aliased network from a file in the official layout to a checked deployment, by the commands alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.torch_runtime import load_reference
from adroit.models.data.images import ImageSet, read_images
from adroit.models.data.preprocessing import CIFAR10, IMAGENET
from adroit.models.metrics.shift_consistency import Batch, shift_consistency
from adroit.models.networks.architectures import build_network
from adroit.models.training.precise_batch_norm import recompute_batch_norm_statistics
from tests.conftest import Adroit, make_checkpoint


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four crops of 160 x 160 from scikit-learn's sample images, with labels."""
    from sklearn.datasets import load_sample_images

    crops = [p[top : top + 160, top : top + 160] for p in load_sample_images().images for top in (40, 200)]
    path = tmp_path_factory.mktemp("photographs") / "photographs.npz"
    np.savez(path, images=np.stack(crops), labels=np.arange(4))
    return path


def publish(path: Path, images: ImageSet) -> None:
    """Random weights with their statistics, laid out as the official training script saves them."""
    torch.manual_seed(1)
    network = build_network("aa-resnet18")
    recompute_batch_norm_statistics(network, [torch.from_numpy(x) for _, x in images.batches(IMAGENET, 4)])
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"epoch": 89, "arch": "resnet18_pasa", "state_dict": state, "best_acc1": 71.2}, path)


def test_from_the_official_layout_to_a_checked_deployment(photographs: Path, adroit: Adroit, tmp_path: Path) -> None:
    publish(tmp_path / "published.pth.tar", read_images(photographs))
    for command in (
        ["import", "aa-resnet18", tmp_path / "published.pth.tar", "-o", tmp_path / "checkpoint"],
        ["export", tmp_path / "checkpoint", "-o", tmp_path / "repository"],
    ):
        result = adroit(*command)
        assert result.code == 0, result.err
    assert "7 AdaptiveFilter" in result.out
    deployment = tmp_path / "repository" / "aa-resnet18"
    data = ["--data", photographs, "--images", 2, "--threads", 1]
    result = adroit("check", deployment, *data, "--json", "--shift-consistency", 32)
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert report["passed"] and report["output"]["used"] < 0.1
    assert report["consistency"]["padding"] == 0  # 224 and 31 pixels, of 256
    assert Deployment.read(deployment).info.parity is not None

    result = adroit("profile", deployment, "--size", 65, 65, "--seconds", 0.1, "--operators", "portable", "--json")
    assert result.code == 0, result.err
    (candidate,) = json.loads(result.out)["candidates"]
    filters = [layer for layer in candidate["layers"] if layer["operator"] == "AdaptiveFilter"]
    assert len(filters) == 7
    assert sum(layer["transcendental"] for layer in filters) == candidate["operations"]["transcendental"] > 0
    assert candidate["operations"]["absolute_differences"] == 0


def test_shift_consistency_is_that_of_training(images: Path, adroit: Adroit, tmp_path: Path) -> None:
    """As a recipe with crop 28 and max_offset 5 measures it on images of 32 pixels."""
    checkpoint = make_checkpoint(tmp_path / "checkpoint", "aa-cifar-resnet20", (32, 32))
    assert adroit("export", checkpoint, "-o", tmp_path / "repository").code == 0
    deployment = tmp_path / "repository" / "aa-cifar-resnet20"
    result = adroit("check", deployment, "--data", images, "--shift-consistency", 5)
    assert result.code == 0, result.err

    network, image_set = load_reference(Deployment.read(deployment)), read_images(images)

    def predict(x: Batch) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(network(torch.from_numpy(x)))

    def batches() -> Iterator[tuple[Batch, np.ndarray | None]]:
        return ((x, None) for _, x in image_set.batches(CIFAR10, 50))

    expected = shift_consistency(predict, batches, (28, 28), 5)
    share = f"{expected.consistent:.2f}%"
    assert f"shift consistency: {share}, PyTorch {share} (two crops, shifts below 5 pixels, 5 passes)" in result.out


def test_shifts_beyond_the_image_are_refused(images: Path, resnet_deployment: Deployment, adroit: Adroit) -> None:
    result = adroit(
        "check", resnet_deployment.path, "--data", images, "--operators", "portable", "--shift-consistency", 64
    )
    assert result.code == 2
    assert "too small to be moved by 63 pixels" in result.err
    assert adroit("check", resnet_deployment.path, "--data", images, "--shift-consistency", 1).code == 2


def test_a_published_network_with_other_arguments(adroit: Adroit, tmp_path: Path) -> None:
    arguments = {"filter_size": 5, "groups": 4, "pool_only": False}
    torch.save(build_network("aa-resnet18", arguments).state_dict(), tmp_path / "published.pth")
    command = ["import", "aa-resnet18", tmp_path / "published.pth", "-o", tmp_path / "checkpoint"]
    result = adroit(*command, "--argument", "filter_size=5", "--argument", "groups=4", "--argument", "pool_only=false")
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "checkpoint" / "config.json").read_text())["arguments"] == arguments


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("filter=5", "filter is adaptive, binomial or none, not '5'"),
        ("filter_size=4", "filter_size is 3, 5 or 7, not 4"),
        ("groups=many", "--argument groups=many: the value must be a whole number"),
        ("joint_softmax=1", "--argument joint_softmax=1: the value must be true or false"),
        ("kernel=3", "aa-resnet18 has no argument 'kernel'"),
        ("groups", "--argument groups: the value must be a whole number"),
    ],
)
def test_an_argument_that_the_network_does_not_have(
    adroit: Adroit, tmp_path: Path, argument: str, message: str
) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "published.pth")
    output = tmp_path / "checkpoint"
    result = adroit("import", "aa-resnet18", tmp_path / "published.pth", "-o", output, "--argument", argument)
    assert result.code == 2
    assert message in result.err
    assert not output.exists()
