"""ONNX Runtime's optimized file: the same numbers, for this kind of machine only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adroit.deploy.build.build import build_deployment
from adroit.deploy.build.choices import Backend
from adroit.deploy.build.options import BuildOptions
from adroit.deploy.deployment.builds import OnnxRuntimeBuild
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.native import native_library
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import EnvironmentFault, UnsupportedModel, UsageError
from tests.conftest import Adroit
from tests.deploy.records import rewritten


@pytest.fixture
def built(lenet: Deployment) -> Deployment:
    try:
        native_library()
    except EnvironmentFault as error:
        pytest.skip(str(error))
    return build_deployment(lenet, BuildOptions(Backend.onnxruntime)).deployment


def test_the_optimized_file_computes_the_model(built: Deployment) -> None:
    record = Deployment.read(built.path).info.builds["2"]
    assert isinstance(record, OnnxRuntimeBuild)
    assert record.file == "2/model.onnx"
    assert max(record.difference.share_of_largest.values()) <= 1e-4
    x = np.random.default_rng(3).standard_normal((5, 1, 32, 32)).astype(np.float32)
    outputs = []
    for version in (None, 2):
        with open_runtime(built, RuntimeOptions(threads=1, version=version)) as runtime:
            outputs.append(runtime.run(built.feeds(x))["logits"])
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=0, atol=1e-4 * np.abs(outputs[0]).max())
    assert np.abs(outputs[0]).max() > 0


def test_it_is_opened_on_its_own_kind_of_machine_only(built: Deployment) -> None:
    record = msgspec.structs.replace(built.info.builds["2"], instruction_set="neon", machine="aarch64")
    rewritten(built, builds={"2": record})
    with pytest.raises(EnvironmentFault, match="another kind of machine"):
        open_runtime(Deployment.read(built.path), RuntimeOptions(version=2))


def test_a_build_that_is_not_there_is_told(built: Deployment) -> None:
    with pytest.raises(UsageError, match="no build for onnxruntime with version 7"):
        open_runtime(built, RuntimeOptions(version=7))


def test_check_holds_it_to_the_network(built: Deployment, images: Path, adroit: Adroit) -> None:
    result = adroit("check", built.path, "--data", images, "--build", 2, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["passed"]
    assert adroit("check", built.path, "--data", images, "--build", 2, "--layers").code == 2


def test_a_file_with_branches_can_be_loaded_again(
    routed_deployment: Deployment, adroit: Adroit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime 1.32 with all its optimizations names a value of a branch as one of the graph around it."""
    path = shutil.copytree(routed_deployment.path, tmp_path / "routed")
    result = adroit("build", path, "--backend", "onnxruntime")
    assert result.code == 0, result.err
    built = Deployment.read(path)
    record = built.info.builds["2"]
    assert isinstance(record, OnnxRuntimeBuild)
    assert ("extended optimizations only" in result.out) is (record.optimizations == "extended")
    x = np.random.default_rng(3).standard_normal((2, 3, 128, 128)).astype(np.float32)
    for threshold in (0.0, 0.3, 1.0):  # from all branches to none
        outputs = []
        for version in (None, 2):
            with open_runtime(built, RuntimeOptions(threads=1, version=version)) as runtime:
                outputs.append(runtime.run(built.feeds(x, threshold)))
        for name, expected in outputs[0].items():
            np.testing.assert_allclose(outputs[1][name], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    monkeypatch.setattr("adroit.deploy.build.onnxruntime_file.LEVELS", ("all",))
    alone = adroit("build", path, "--backend", "onnxruntime")
    assert alone.code == (0 if record.optimizations == "all" else UnsupportedModel.exit_code)
