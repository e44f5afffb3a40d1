"""What ONNX Runtime does when it is asked for a provider."""

from __future__ import annotations

import onnxruntime
import pytest

from deploy.entry import Entry
from deploy.runtimes.choices import OperatorForm
from deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from deploy.runtimes.open import RuntimeOptions
from models.errors import EnvironmentFault

ABSENT = "CUDAExecutionProvider"


def options(provider: str) -> RuntimeOptions:
    return RuntimeOptions(threads=1, operators=OperatorForm.portable, providers=(provider,))


@pytest.mark.skipif(ABSENT in onnxruntime.get_available_providers(), reason="ONNX Runtime with CUDA")
def test_a_provider_that_is_not_built_in(lenet_entry: Entry) -> None:
    with pytest.raises(EnvironmentFault, match=f"ONNX Runtime has no {ABSENT} here"):
        OnnxRuntime.of_entry(lenet_entry, options(ABSENT))


@pytest.mark.skipif(ABSENT in onnxruntime.get_available_providers(), reason="ONNX Runtime with CUDA")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start(lenet_entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with onnxruntime-gpu where CUDA's libraries are missing: it computes on the CPU, and only logs so."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [ABSENT, "CPUExecutionProvider"])
    with pytest.raises(EnvironmentFault, match=f"could not start {ABSENT}") as caught:
        OnnxRuntime.of_entry(lenet_entry, options(ABSENT))
    assert caught.value.facts["it would run on"] == "CPUExecutionProvider"


def test_the_provider_that_runs_is_told(lenet_entry: Entry) -> None:
    with OnnxRuntime.of_entry(lenet_entry, options("CPUExecutionProvider")) as runtime:
        assert runtime.facts["providers"] == ["CPUExecutionProvider"]
