"""The official trained ResNet-20 AdderNet, from its checkpoint to the deployment, on CIFAR-10's test images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Adroit


@pytest.fixture(scope="module")
def repository(shared_data: Path, adroit: Adroit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official")
    published = shared_data / "addernet" / "ResNet20-AdderNet.pth"
    assert adroit("import", "adder-resnet20", published, "-o", folder / "checkpoint").code == 0
    for name, options in (("native", []), ("portable", ["--portable"])):
        assert adroit("export", folder / "checkpoint", "-o", folder / "repository", "--name", name, *options).code == 0
    return folder / "repository"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("form", ["native", "portable"])
def test_the_deployment_equals_the_network_on_500_images(
    form: str, repository: Path, shared_data: Path, adroit: Adroit
) -> None:
    data = f"{shared_data / 'cifar10' / 'cifar10_subset.npz'}:test"
    result = adroit("check", repository / form, "--data", data, "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert report["images"] == 500
    assert report["argmax_equal"] == 1.0
    assert report["output"]["used"] < 1
    deployed, network = report["top1"]
    assert abs(deployed - network) <= 0.002
    assert network > 0.90  # its published accuracy is 91.8 % on all 10,000 images
