"""The official trained ResNet-20 AdderNet, from its checkpoint to the deployment, on CIFAR-10's test images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Adroit

# `adroit check` of a form on so many of the 500 images; its report.
Check = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def data(shared_data: Path) -> str:
    return f"{shared_data / 'cifar10' / 'cifar10_subset.npz'}:test"


@pytest.fixture(scope="module")
def repository(shared_data: Path, adroit: Adroit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official")
    published = shared_data / "addernet" / "ResNet20-AdderNet.pth"
    assert adroit("import", "adder-resnet20", published, "-o", folder / "checkpoint").code == 0
    for name, options in (("native", []), ("portable", ["--portable"])):
        assert adroit("export", folder / "checkpoint", "-o", folder / "repository", "--name", name, *options).code == 0
    return folder / "repository"


@pytest.fixture(scope="module")
def check(repository: Path, data: str, adroit: Adroit) -> Check:
    def run(form: str, images: int) -> dict[str, Any]:
        result = adroit("check", repository / form, "--data", data, "--images", images, "--json")
        assert result.code == 0, result.err
        report: dict[str, Any] = json.loads(result.out)
        assert report["images"] == images
        assert report["argmax_equal"] == 1.0
        assert report["output"]["used"] < 1
        return report

    return run


@pytest.mark.timeout(1200)
def test_the_deployment_equals_the_network(check: Check) -> None:
    """On 160 images: on all 500 of the data it is `make demo`, which takes minutes."""
    deployed, network = check("native", 160)["top1"]
    assert deployed == network
    assert network > 0.88  # its published accuracy is 91.8 % on all 10,000 images


@pytest.mark.timeout(1200)
def test_the_portable_bodies_equal_it_too(
    check: Check, repository: Path, data: str, adroit: Adroit, tmp_path: Path
) -> None:
    """On 16 images by the float64 network, on 160 by the native kernels, which the test above holds to it."""
    limit = check("portable", 16)["output"]["limit"]
    logits = {}
    for form in ("native", "portable"):
        assert (
            adroit("run", repository / form, "--data", data, "--images", 160, "-o", tmp_path / f"{form}.npz").code == 0
        )
        logits[form] = np.load(tmp_path / f"{form}.npz")["logits"]
    assert len(logits["native"]) == 160
    assert (logits["native"].argmax(1) == logits["portable"].argmax(1)).all()
    assert np.abs(logits["native"] - logits["portable"]).max() < 2 * limit
