"""`adroit quantize`, from a deployment to one in 8 bits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.records import QuantizationSource
from adroit.deploy.export.deployment import export_deployment
from adroit.deploy.parity.quantized import check_quantized
from adroit.deploy.quantize.choices import Method
from adroit.deploy.quantize.quantize import Quantized, QuantizeOptions, quantize_deployment
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet, read_images
from tests.conftest import Adroit, make_checkpoint


def _quantize(deployment: Deployment, images: Path, folder: Path, **options: object) -> Quantized:
    chosen = QuantizeOptions(threads=1, **options)
    return quantize_deployment(deployment, read_images(images), str(images), folder, options=chosen)


def _logits(deployment: Deployment, images: ImageSet) -> np.ndarray:
    with open_runtime(deployment, RuntimeOptions(threads=1)) as runtime:
        return np.concatenate(
            [runtime.run(deployment.feeds(x))["logits"] for _, x in images.batches(deployment.info.preprocessing, 8)]
        )


@pytest.fixture(scope="module")
def quantized(resnet_deployment: Deployment, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    return _quantize(resnet_deployment, images, tmp_path_factory.mktemp("quantized"), sensitivity=True)


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("correct", [True, False])
def test_logits_stay_near_the_float_ones(
    method: Method, correct: bool, resnet_deployment: Deployment, images: Path, tmp_path: Path
) -> None:
    found = _quantize(resnet_deployment, images, tmp_path, method=method, bias_correction=correct)
    ours, theirs = (_logits(deployment, read_images(images)) for deployment in (found.deployment, resnet_deployment))
    error = float(np.sqrt(((ours - theirs) ** 2).mean()) / theirs.std())
    assert error < 0.25
    assert found.cost.error == pytest.approx(error, rel=1e-3)


def test_bias_correction_lowers_the_error(resnet_deployment: Deployment, images: Path, tmp_path: Path) -> None:
    costs = {
        correct: _quantize(resnet_deployment, images, tmp_path / str(correct), bias_correction=correct).cost
        for correct in (True, False)
    }
    assert costs[True].error < costs[False].error


def test_the_first_layer_may_read_the_image_itself(lenet_deployment: Deployment, images: Path, tmp_path: Path) -> None:
    """Values on both sides of 0, padding that is none of them, and max pooling between the layers."""
    found = _quantize(lenet_deployment, images, tmp_path)
    assert found.cost.error < 0.25
    report = check_quantized(found.deployment, read_images(images), RuntimeOptions(threads=1))
    assert report.passed


def test_provenance_tells_how_it_was_made(quantized: Quantized, resnet_deployment: Deployment, images: Path) -> None:
    info = quantized.deployment.info
    assert info == Deployment.read(quantized.deployment.path).info
    record = info.quantization
    assert record is not None
    assert record.source == QuantizationSource(resnet_deployment.info.name, resnet_deployment.info.model.sha256)
    assert (record.method, record.images, record.data) == ("mse", 12, str(images))
    assert len(record.layers) == 20 and len(record.tensors) == 20
    assert info.operators["QAdderConv2d"].nodes == 11 and "AdderConv2d" not in info.operators
    assert info.parity is None and info.checkpoint == resnet_deployment.info.checkpoint


def test_sensitivity_tells_a_cost_for_every_layer(quantized: Quantized) -> None:
    errors = [cost.error for cost in quantized.layers.values()]
    assert len(errors) == 20 and min(errors) > 0
    assert max(errors) < 1.5 * quantized.cost.error + 0.05


def test_a_layer_kept_in_float_costs_less(resnet_deployment: Deployment, images: Path, tmp_path: Path) -> None:
    """All but one layer kept: that one's cost alone."""
    names = [node.name for node in resnet_deployment.load_model().graph.node if node.domain == "adroit"]
    kept = tuple(name for name in names if name != "layer2.1.conv1")
    found = _quantize(resnet_deployment, images, tmp_path, keep_float=kept)
    assert found.deployment.info.operators["QAdderConv2d"].nodes == 1
    assert 0 < found.cost.error < 0.1
    assert check_quantized(found.deployment, read_images(images), RuntimeOptions(threads=1)).passed


def test_the_same_images_give_the_same_bytes(
    quantized: Quantized, resnet_deployment: Deployment, images: Path, tmp_path: Path
) -> None:
    again = _quantize(resnet_deployment, images, tmp_path)
    assert again.deployment.info.model.sha256 == quantized.deployment.info.model.sha256


def test_portable_bodies_calibrate_and_run_too(
    lenet_deployment: Deployment, images: Path, tmp_path: Path, adroit: Adroit
) -> None:
    """A machine without the native library."""
    nowhere = {"ADROIT_ONNXRUNTIME_LIBRARY": "/nowhere.so"}
    portable = ["--data", images, "--images", 2, "--operators", "portable", "--threads", 1]
    result = adroit("quantize", lenet_deployment.path, *portable, "-o", tmp_path, "--json", environment=nowhere)
    assert result.code == 0, result.err
    assert json.loads(result.out)["cost"]["error"] < 0.25
    made = tmp_path / "adder-lenet5-bn-8bit"
    check = adroit("check", made, *portable, environment=nowhere)
    assert check.code == 0, check.err


def test_profile_counts_and_times_it(quantized: Quantized, adroit: Adroit) -> None:
    result = adroit("profile", quantized.deployment.path, "--threads", 1, "--seconds", "0.1", "--json")
    assert result.code == 0, result.err
    (candidate,) = json.loads(result.out)["candidates"]
    assert candidate["operations"]["absolute_differences"] == 40_370_176  # as the float network's
    layers = {layer["node"]: layer["operator"] for layer in candidate["layers"]}
    assert layers["layer1.0.conv1"] == "QAdderConv2d"


def test_the_float_deployment_is_never_replaced(lenet_checkpoint: Path, images: Path, tmp_path: Path) -> None:
    deployment = export_deployment(lenet_checkpoint, tmp_path, "mine")
    with pytest.raises(UsageError, match="float32 deployment itself"):
        quantize_deployment(deployment, read_images(images), "images", tmp_path, "mine")
    assert Deployment.read(deployment.path).info.quantization is None


def test_a_failure_leaves_nothing(
    lenet_deployment: Deployment, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UsageError("on purpose")

    monkeypatch.setattr("adroit.deploy.quantize.store.triton_config", fail)
    with pytest.raises(UsageError, match="on purpose"):
        _quantize(lenet_deployment, images, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_not_finite_are_refused(tmp_path: Path, images: Path) -> None:
    """A weight so large that sums overflow: it loads, and every range would be infinite."""
    import torch

    from adroit.errors import UnsupportedModel
    from adroit.models.checkpoints.checkpoint import load_checkpoint, save_checkpoint

    folder = make_checkpoint(tmp_path / "checkpoint", "adder-resnet20", (32, 32))
    network, config = load_checkpoint(folder)
    with torch.no_grad():
        network.get_parameter("bn1.weight").fill_(3e38)
    save_checkpoint(folder, network, config)
    deployment = export_deployment(folder, tmp_path / "repository")
    with pytest.raises(UnsupportedModel, match="not finite"):
        _quantize(deployment, images, tmp_path / "repository")
    assert list((tmp_path / "repository").iterdir()) == [deployment.path]
