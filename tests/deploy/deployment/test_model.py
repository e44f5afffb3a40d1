"""Reading the ONNX file of a deployment: its bytes are parsed once, however it is opened."""

from __future__ import annotations

import onnx
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.onnx_file import onnx_file_pb2
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.native import native_library
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import EnvironmentFault


class Parses:
    """Counts the ONNX files that our code parses, in place of its parsers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        load = onnx.load_model_from_string

        def parsed() -> onnx_file_pb2.ModelProto:
            self.count += 1
            return onnx_file_pb2.ModelProto()

        def loaded(content: bytes) -> onnx.ModelProto:
            self.count += 1
            return load(content)

        monkeypatch.setattr("adroit.deploy.onnx_file.ModelProto", parsed)
        monkeypatch.setattr(onnx, "load_model_from_string", loaded)


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> Parses:
    """The count of parses in one test."""
    return Parses(monkeypatch)


@pytest.mark.parametrize("operators", list(OperatorForm))
def test_a_session_parses_the_file_once(operators: OperatorForm, lenet_deployment: Deployment, parses: Parses) -> None:
    if operators == OperatorForm.native:
        try:
            native_library()
        except EnvironmentFault as error:
            pytest.skip(error.message)
    OnnxRuntime.of_deployment(lenet_deployment, RuntimeOptions(operators=operators, threads=1)).close()
    assert parses.count == 1


def test_the_model_is_parsed_once_for_tools_too(lenet_deployment: Deployment, parses: Parses) -> None:
    lenet_deployment.load_model()
    assert parses.count == 1
