"""ONNX Runtime with a requested provider."""

from __future__ import annotations

import onnxruntime
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import EnvironmentFault

ABSENT = "CUDAExecutionProvider"


def options(provider: str) -> RuntimeOptions:
    return RuntimeOptions(threads=1, operators=OperatorForm.portable, providers=(provider,))


@pytest.mark.skipif(ABSENT in onnxruntime.get_available_providers(), reason="ONNX Runtime with CUDA")
def test_a_provider_that_is_not_built_in(lenet_deployment: Deployment) -> None:
    with pytest.raises(EnvironmentFault, match=f"ONNX Runtime has no {ABSENT} here"):
        OnnxRuntime.of_deployment(lenet_deployment, options(ABSENT))


@pytest.mark.skipif(ABSENT in onnxruntime.get_available_providers(), reason="ONNX Runtime with CUDA")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start(lenet_deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu without CUDA's libraries computes on the CPU, and only logs so."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [ABSENT, "CPUExecutionProvider"])
    with pytest.raises(EnvironmentFault, match=f"could not start {ABSENT}") as caught:
        OnnxRuntime.of_deployment(lenet_deployment, options(ABSENT))
    assert caught.value.facts["it would run on"] == "CPUExecutionProvider"


def test_the_provider_that_runs_is_told(lenet_deployment: Deployment) -> None:
    with OnnxRuntime.of_deployment(lenet_deployment, options("CPUExecutionProvider")) as runtime:
        assert runtime.facts["providers"] == ("CPUExecutionProvider",)
