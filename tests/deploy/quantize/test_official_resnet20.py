"""The official trained ResNet-20 AdderNet in 8 bits, calibrated on training images, judged on test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.records import QuantizationCost
from adroit.deploy.export.deployment import export_deployment
from adroit.deploy.parity.quantized import check_quantized
from adroit.deploy.quantize.choices import Method
from adroit.deploy.quantize.quantize import QuantizeOptions, quantize_deployment
from adroit.deploy.quantize.sensitivity import cost_of, logits_of
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.checkpoints.importers import import_checkpoint
from adroit.models.data.images import ImageSet, read_images

RUN = RuntimeOptions(threads=1)
CALIBRATION_IMAGES = 1024


@pytest.fixture(scope="module")
def official(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    folder = tmp_path_factory.mktemp("official")
    import_checkpoint(
        "adder-resnet20", shared_data / "addernet" / "ResNet20-AdderNet.pth", folder / "checkpoint", {}, []
    )
    return export_deployment(folder / "checkpoint", folder / "repository")


@pytest.fixture(scope="module")
def cifar10(shared_data: Path) -> dict[str, ImageSet]:
    path = shared_data / "cifar10" / "cifar10_subset.npz"
    return {part: read_images(f"{path}:{part}") for part in ("train", "test")}


@pytest.fixture(scope="module")
def exact(official: Deployment, cifar10: dict[str, ImageSet]) -> np.ndarray:
    return logits_of(official, official.load_model(), cifar10["test"], RUN)


def _quantize(official: Deployment, images: ImageSet, folder: Path, **options: object) -> Deployment:
    chosen = QuantizeOptions(threads=1, **options)
    return quantize_deployment(official, images.first(CALIBRATION_IMAGES), "train", folder, options=chosen).deployment


def _cost(deployment: Deployment, exact: np.ndarray, test: ImageSet) -> QuantizationCost:
    return cost_of(logits_of(deployment, deployment.load_model(), test, RUN), exact, test.labels)


def test_accuracy_stays(official: Deployment, cifar10: dict[str, ImageSet], exact: np.ndarray, tmp_path: Path) -> None:
    deployment = _quantize(official, cifar10["train"], tmp_path)
    cost = _cost(deployment, exact, cifar10["test"])
    assert cost.argmax_equal >= 0.98
    assert cost.top1 is not None
    ours, theirs = cost.top1
    assert ours >= theirs - 0.005 and theirs > 0.9
    report = check_quantized(deployment, cifar10["test"].first(16), RUN)
    assert report.passed and report.top1 is not None


def test_other_ranges_stay_near_too(
    official: Deployment, cifar10: dict[str, ImageSet], exact: np.ndarray, tmp_path: Path
) -> None:
    deployment = _quantize(official, cifar10["train"], tmp_path, method=Method.percentile, percentile=99.999)
    assert _cost(deployment, exact, cifar10["test"]).argmax_equal >= 0.98


def test_bias_correction_pays(
    official: Deployment, cifar10: dict[str, ImageSet], exact: np.ndarray, tmp_path: Path
) -> None:
    errors = {
        correct: _cost(
            _quantize(official, cifar10["train"], tmp_path / str(correct), bias_correction=correct),
            exact,
            cifar10["test"],
        ).error
        for correct in (True, False)
    }
    assert errors[True] < 0.9 * errors[False]
